"""The settings of how caches and nodes reach the world."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, BeforeValidator

from tasks.settings import words
from tasks.settings.types import Bool, Says, Text, Texts, Tree, section, setting

ProxyAddress = Annotated[Text, AfterValidator(words.proxy), Says("a proxy's address such as http://proxy:3128")]
Hosts = Annotated[
    tuple[Annotated[Text, AfterValidator(words.excluded)], ...],
    BeforeValidator(words.hosts, json_schema_input_type=tuple[str, ...] | str),
    Says("a list of hosts, or one text with blanks, commas or semicolons between them"),
]


class Proxy(Tree):
    """Proxies of the pull-through caches and of the nodes; a login is percent-encoded, and never shown."""

    http: ProxyAddress | None = setting(None, "For addresses that begin with http://; null: none.")
    https: ProxyAddress | None = setting(None, "For addresses that begin with https://; null: none.")
    no_proxy: Hosts = setting(
        (), "Reached without one, beside the cluster itself: names with all below them, addresses, networks."
    )


class Network(Tree):
    """How caches and nodes reach the world. The engine's own pulls, and programs on the host, are not changed by it."""

    proxy: Proxy = section(Proxy, "Proxies of caches and nodes.")
    ca: Texts = setting(
        (), "Files of certificate authorities, PEM or DER, that caches and nodes trust beside those of their images."
    )
    from_environment: Bool = setting(
        False,
        "What is not set here comes from HTTP_PROXY, HTTPS_PROXY, ALL_PROXY, NO_PROXY, and from SSL_CERT_FILE, "
        "REQUESTS_CA_BUNDLE or CURL_CA_BUNDLE.",
    )
