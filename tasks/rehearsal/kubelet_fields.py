"""Fields of the kubelet's configuration by their Go types: whoever writes another one ends its node.

Of KubeletConfiguration, kubelet.config.k8s.io/v1beta1, in Kubernetes 1.33; fields that are structures are `object`.
"""

from __future__ import annotations

_NAMES = {
    "[]object": """
        registerWithTaints reservedMemory shutdownGracePeriodByPodPriority
    """,
    "[]string": """
        allowedUnsafeSysctls clusterDNS enforceNodeAllocatable preloadedImagesVerificationAllowlist
        tlsCipherSuites
    """,
    "bool": """
        cgroupsPerQOS cpuCFSQuota enableContentionProfiling enableControllerAttachDetach enableDebugFlagsHandler
        enableDebuggingHandlers enableProfilingHandler enableServer enableSystemLogHandler enableSystemLogQuery
        failCgroupV1 failSwapOn kernelMemcgNotification localStorageCapacityIsolation makeIPTablesUtilChains
        mergeDefaultEvictionSettings protectKernelDefaults registerNode rotateCertificates runOnce
        seccompDefault serializeImagePulls serverTLSBootstrap singleProcessOOMKill
    """,
    "float64": """
        memoryThrottlingFactor
    """,
    "int32": """
        containerLogMaxFiles containerLogMaxWorkers eventBurst eventRecordQPS evictionMaxPodGracePeriod
        healthzPort imageGCHighThresholdPercent imageGCLowThresholdPercent iptablesDropBit iptablesMasqueradeBit
        kubeAPIBurst kubeAPIQPS maxParallelImagePulls maxPods nodeLeaseDurationSeconds nodeStatusMaxImages
        oomScoreAdj podsPerCore port readOnlyPort registryBurst registryPullQPS
    """,
    "int64": """
        maxOpenFiles podPidsLimit
    """,
    "map[string][]string": """
        staticPodURLHeader
    """,
    "map[string]bool": """
        featureGates
    """,
    "map[string]string": """
        cpuManagerPolicyOptions evictionHard evictionMinimumReclaim evictionSoft evictionSoftGracePeriod
        kubeReserved qosReserved systemReserved topologyManagerPolicyOptions
    """,
    "object": """
        authentication authorization configMapAndSecretChangeDetectionStrategy crashLoopBackOff
        imagePullCredentialsVerificationPolicy logging memorySwap tracing userNamespaces
    """,
    "string": """
        address cgroupDriver cgroupRoot clusterDomain containerLogMaxSize containerRuntimeEndpoint contentType
        cpuManagerPolicy hairpinMode healthzBindAddress imageServiceEndpoint kubeReservedCgroup kubeletCgroups
        memoryManagerPolicy podCIDR podLogsDir providerID reservedSystemCPUs resolvConf
        showHiddenMetricsForVersion staticPodPath staticPodURL systemCgroups systemReservedCgroup tlsCertFile
        tlsMinVersion tlsPrivateKeyFile topologyManagerPolicy topologyManagerScope volumePluginDir
    """,
    "v1.Duration": """
        containerLogMonitorInterval cpuCFSQuotaPeriod cpuManagerReconcilePeriod evictionPressureTransitionPeriod
        fileCheckFrequency httpCheckFrequency imageMaximumGCAge imageMinimumGCAge nodeStatusReportFrequency
        nodeStatusUpdateFrequency runtimeRequestTimeout shutdownGracePeriod shutdownGracePeriodCriticalPods
        streamingConnectionIdleTimeout syncFrequency volumeStatsAggPeriod
    """,
}
TYPES = {name: kind for kind, names in _NAMES.items() for name in names.split()}
"""The type of each field."""
