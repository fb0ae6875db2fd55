"""What is read of Dockerfiles and .dockerignore files, as docker reads them."""

from collections.abc import Sequence

import pytest

from tasks.clients.dockerfile import bases, buildkit_feature, copied, ignored, instructions, only

WHOLE = """\
# syntax=docker/dockerfile:1
ARG VERSION=20
ARG OTHER
FROM --platform=$BUILDPLATFORM node:${VERSION}-alpine AS base
RUN <<EOF
FROM not-this
EOF
FROM base AS two
COPY --from=nginx:1 /a /b
COPY --from=Base /a /b
RUN --mount=type=bind,from=busybox,target=/x \\
  # a comment

  echo a
FROM ${OTHER:-alpine}@sha256:0
FROM scratch
COPY --from=0 / /
"""


def test_bases_are_images_and_no_stages() -> None:
    assert bases(WHOLE, {}) == ("node:20-alpine", "nginx:1", "busybox", "alpine@sha256:0")
    assert bases(WHOLE, {"VERSION": "22", "OTHER": "x"})[0::3] == ("node:22-alpine", "x@sha256:0")
    assert bases("FROM $UNKNOWN\nRUN uvx --from=build pyproject-build\n", {}) == ()
    two = "ARG A=1 B='2'\nFROM x:$A-${B}\nFROM x AS build-amd64\nFROM build-${TARGETARCH}\n"
    assert bases(two, {}) == ("x:1-2", "x")


def test_an_instruction_has_the_line_that_it_begins_at() -> None:
    found = {str(each)[:9]: each.line for each in instructions(WHOLE)}
    assert (found["RUN <<EOF"], found["FROM base"], found["RUN --mou"], found["FROM scra"]) == (5, 8, 11, 16)
    (only_one,) = instructions("# escape=`\nRUN a `\n  b\\\n")
    assert only_one == (2, "RUN", "a   b\\", False)
    assert len(instructions("# other=1\n# escape=`\nRUN a \\\n  b")) == 1  # after another comment it is no directive


@pytest.mark.parametrize(
    ("text", "feature"),
    [
        (WHOLE, "here-documents (line 5)"),
        ("FROM a\nRUN --mount=type=cache,target=/x go build", "RUN --mount (line 2)"),
        ("FROM a\nONBUILD COPY --chown=1 --chmod=755 a /b", "COPY --chmod (line 2)"),
        ("FROM --platform=linux/arm64 a\nCOPY --from=x --chown=1:1 a /b\nADD --chown=1 b /c\n", ""),
        ("FROM a\nRUN cat <<EOF\nRUN x --mount=y\nHEALTHCHECK --interval=1s CMD x", ""),
    ],
)
def test_what_only_buildkit_supports(text: str, feature: str) -> None:
    assert buildkit_feature(text) == feature


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("COPY package*.json ./", ("package*.json",)),
        ('COPY --chown=1:1 ["a b", "c", "/d"]', ("a b", "c")),
        ("ADD https://x.io/a /b", ()),
        ("ADD git@github.com:a/b.git /b", ()),
        ("COPY packages/@a/b /b", ("packages/@a/b",)),
        ("COPY ./src/ /src", ("src",)),
        ("COPY . .", ("",)),
        ("COPY --from=x /a /b", ()),
        ("COPY $WHAT /b", None),
        ('COPY "a b" /c', None),
        ("COPY <<EOF /a\ntext\nEOF", ()),
        ("RUN --mount=type=cache,target=/x --mount=target=/y,source=lib go build", ("lib",)),
        ("RUN --mount=type=bind,target=. go build", ("",)),
        ("RUN --mount=type=secret,id=a cat", ()),
        ("COPY\tsrc /src", ("src",)),
        ("RUN echo $((1<<4)) $((1 << N))\nRUN cat <<<'a' && echo \"b <<c\"\nRUN x <<END\nCOPY src /src", ("src",)),
        ('RUN echo "a <<END b"\nCOPY src /src\nRUN <<END\nCOPY no /\nEND', ("src",)),
        ('RUN << END\nCOPY no /\nEND\nRUN <<"A B"\nCOPY no /\nA B\nCOPY src /src', ("src",)),
        ("RUN echo C:\\\\\nCOPY src /src", ("src",)),  # two: no continuation
        ("RUN echo a\u2028COPY no /\x0cCOPY no /\r\nCOPY src /src\r", ("src",)),
        ("ONBUILD COPY src /src\nONBUILD RUN --mount=source=lib,target=/x y\nFROM x", ("src", "lib")),
        ("ONBUILD COPY <<END /a\nCOPY no /\nEND\nCOPY src /src", ("src",)),
        ("RUN docker run --mount=type=bind,source=/a,target=/b x --from=y", ()),
        ('RUN --mount=type=bind,"source=a,b",target=/x y', None),
        ("RUN --mount=type=Bind,Source=lib,target=/x y", ("lib",)),
        ("RUN cat <<-'A-1' 3<<B\n\tCOPY no /\n A-1\n\tA-1\nCOPY no /\nB\nCOPY src /src", ("src",)),
    ],
)
def test_parts_of_the_context_that_are_copied(text: str, parts: Sequence[str] | None) -> None:
    assert copied(f"FROM x\n{text}\n") == (None if parts is None else tuple(parts))


@pytest.mark.parametrize(
    ("rules", "out", "inside"),
    [
        ("", [], ["a", ".git/x"]),
        ("# *\n\n  a  \n", ["a", "a/b"], ["b", "ab", "c/a"]),
        ("*.md", ["a.md"], ["x/a.md"]),
        ("**/*.md", ["a.md", "x/y/a.md"], ["a.mdx"]),
        ("*/tmp?", ["x/tmp1", "x/tmp1/a"], ["tmp1", "x/y/tmp1", "x/tmp"]),
        ("/dist/", ["dist", "dist/a"], ["x/dist"]),
        ("a/../b", ["b"], ["a"]),
        ("**", ["a", "a/b"], []),
        ("src/**", ["src/a", "src/a/b"], ["src", "srcs/a"]),
        ("[ab].txt\n\\*", ["a.txt", "*"], ["c.txt", "x"]),
        ("a.b", ["a.b"], ["axb"]),
        ("*.md\n!README.md", ["a.md"], ["README.md"]),
        ("!README.md\n*.md", ["README.md"], []),
        ("docs\n!docs/keep\ndocs/keep/not", ["docs/a", "docs/keep/not/b"], ["docs/keep/a"]),
        ("*\n!src", ["a", "b/c"], ["src", "src/a"]),
        ("[", ["["], ["a"]),
        ("[\\]x]", ["]", "x"], ["\\", "\\x]"]),
        ("**.pyc\n**test/a", ["a.pyc", "x/y/a.pyc", "x/mytest/a"], ["a.py", "test/b"]),
        ("*\n!**.py", ["a.txt", "x/a"], ["a.py", "x/y/a.py"]),
        ("a\x0cb\nc\r\nd", ["a\x0cb", "c", "d"], ["a", "b"]),
    ],
)
def test_what_is_left_out(rules: str, out: Sequence[str], inside: Sequence[str]) -> None:
    left_out = ignored(rules)
    assert [path for path in (*out, *inside) if left_out(path, False)] == list(out)


def test_a_folder_is_entered_where_something_in_it_comes_in_again() -> None:
    left_out = ignored("docs\nother\n!docs/keep\n")
    assert not left_out("docs", True)
    assert left_out("other", True)
    assert not ignored("a\n!**/x\n")("a", True)


def test_only_what_is_copied_counts() -> None:
    out = only(("services/api", "lib/*.go"), ignored("**/x\n"))
    assert not any(out(path, True) for path in ("services", "services/api", "lib"))
    assert not any(out(path, False) for path in ("services/api/a/b", "lib/a.go"))
    assert all(out(path, False) for path in ("services/web/a", "lib/a.c", "services/api/x", "z"))
    assert only(("",), ignored("a\n"))("b", False) is False
