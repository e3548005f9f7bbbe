"""Says a service of compose.yaml as `docker run` arguments, one a line.

For machines that have an engine and no compose. Whatever it doesn't know is an error, so that nothing of
the file goes untested.

    compose_run.py COMPOSE_FILE SERVICE
"""

import os
import re
import sys

import yaml

# What a container's options don't say: how images are made, and who starts when and how often.
ELSEWHERE = {"build", "depends_on", "deploy", "profiles", "restart"}


def substitute(text):
    """`${NAME:-default}`, the one form that the file uses."""
    return re.sub(r"\$\{(\w+):-([^}]*)\}", lambda m: os.environ.get(m[1]) or m[2], text)


def arguments(document, name, directory):
    service = dict(document["services"][name])
    for key in ELSEWHERE:
        service.pop(key, None)
    image = service.pop("image")
    command = service.pop("command", [])

    def path(text):
        return os.path.normpath(os.path.join(directory, text)) if text.startswith(".") else text

    if service.pop("init", False):
        yield "--init"
    if service.pop("read_only", False):
        yield "--read-only"
    for capability in service.pop("cap_drop", []):
        yield f"--cap-drop={capability}"
    for option in service.pop("security_opt", []):
        key, _, value = option.partition("=")
        yield f"--security-opt={key}={path(value)}" if key == "seccomp" else f"--security-opt={option}"
    if "mem_limit" in service:
        yield f"--memory={service.pop('mem_limit')}"
    if "pids_limit" in service:
        yield f"--pids-limit={service.pop('pids_limit')}"
    if "stop_grace_period" in service:
        yield f"--stop-timeout={service.pop('stop_grace_period').removesuffix('s')}"
    for key, value in service.pop("environment", {}).items():
        yield f"--env={key}={value}"
    for secret in service.pop("secrets", []):
        source = path(document["secrets"][secret]["file"])
        yield f"--volume={source}:/run/secrets/{secret}:ro"
    for port in service.pop("ports", []):
        yield f"--publish={port}"
    for volume in service.pop("volumes", []):
        volume = substitute(volume)
        source, colon, rest = volume.partition(":")
        if source in document["volumes"]:
            source = f"{document['name']}_{source}"
        yield f"--volume={path(source)}{colon}{rest}"
    for tmpfs in service.pop("tmpfs", []):
        yield f"--tmpfs={tmpfs}"
    for key, value in service.pop("healthcheck", {}).items():
        yield f"--health-{key}={value}"
    if "network_mode" in service:
        yield f"--network={service.pop('network_mode')}"
    else:
        yield f"--network={document['name']}_default"
        yield f"--network-alias={name}"
    entrypoint = service.pop("entrypoint", None)
    if entrypoint:
        yield f"--entrypoint={entrypoint[0]}"
        command = entrypoint[1:] + command
    if service:
        raise SystemExit(f"{name}: don't know how to say {', '.join(service)}")
    yield image
    yield from command


if __name__ == "__main__":
    file, service_name = sys.argv[1:]
    with open(file, encoding="utf-8") as text:
        print(*arguments(yaml.safe_load(text), service_name, os.path.dirname(os.path.abspath(file))), sep="\n")
