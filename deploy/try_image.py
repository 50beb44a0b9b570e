"""Runs a built image as compose would, without a daemon, and says what it found.

    STORAGE_DRIVER=overlay python3 deploy/try_image.py localhost/polygrain:cpu

Needs root, buildah and runc. The image's own user, environment, command and health check are used;
the root file system is read-only, there are no capabilities and none to gain, `/tmp` and the state
are the only places to write to. The network is this machine's, the port a free one. Ends with 1 and
a line where something is not as docs/deployment.md promises.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path
from typing import Any

_READY_WITHIN_S = 90
_STOPPED_WITHIN_S = 75
_CAPABILITY_SETS = ("bounding", "effective", "inheritable", "permitted", "ambient")

# Run inside. Whatever it writes to standard output is a broken promise.
_PROBE = """
for tool in gcc g++ cc c++ clang ld as make pip pip3 curl wget polygrain-train; do
  command -v $tool && echo "has $tool"
done
python3 -c 'import torch' 2>/dev/null && echo 'has torch'
python3 -c 'import training' 2>/dev/null && echo 'has the trainer'
for place in / /opt/polygrain /var /etc /usr/bin; do
  touch $place/try 2>/dev/null && echo "$place can be written to"
done
touch /var/lib/polygrain/try && rm /var/lib/polygrain/try || echo 'the state cannot be written to'
[ "$(id -u):$(id -g)" = 10001:10001 ] || echo "runs as $(id)"
grep -q 'CapBnd:.*[1-9a-f]' /proc/1/status && echo 'has capabilities'
exit 0
"""


class BrokenPromise(Exception):
    """The image is not what docs/deployment.md says; the message is one line."""


def say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def output(*command: str) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


def bundle_of(image: dict[str, Any], root: str, folder: Path, port: int) -> None:
    """Write the `config.json` of an OCI bundle into `folder`."""
    subprocess.run(["runc", "spec"], cwd=folder, check=True)
    file = folder / "config.json"
    config = json.loads(file.read_text())
    user, group = map(int, image["User"].split(":"))
    (folder / "state").mkdir(mode=0o700)
    os.chown(folder / "state", user, group)
    config["root"] = {"path": root, "readonly": True}
    process = config["process"]
    process.pop("rlimits", None)
    process |= {
        "terminal": False,
        "user": {"uid": user, "gid": group},
        "args": [*image["Entrypoint"], *image["Cmd"]],
        "env": [*image["Env"], f"POLYGRAIN_PORT={port}", "POLYGRAIN_ALLOW_ANONYMOUS=true"],
        "cwd": image["WorkingDir"],
        "capabilities": {each: [] for each in _CAPABILITY_SETS},
        "noNewPrivileges": True,
    }
    shared = {"network", "cgroup"}
    linux = config["linux"]
    linux["namespaces"] = [each for each in linux["namespaces"] if each["type"] not in shared]
    linux["resources"] = {}
    config["mounts"] = [
        each for each in config["mounts"] if not each["destination"].startswith("/sys")
    ]
    (state,) = image["Volumes"]
    config["mounts"] += [
        {"destination": "/sys", "type": "bind", "source": "/sys", "options": ["rbind", "ro"]},
        {"destination": "/tmp", "type": "tmpfs", "source": "tmpfs", "options": ["size=64m"]},
        {
            "destination": state,
            "type": "bind",
            "source": str(folder / "state"),
            "options": ["rbind", "rw", "nosuid", "nodev", "noexec"],
        },
    ]
    file.write_text(json.dumps(config))


def try_running(service: subprocess.Popen[bytes], name: str, check: list[str], port: int) -> None:
    """Wait until the service is healthy, ask it, look around inside."""
    started = time.monotonic()
    while subprocess.run(["runc", "exec", name, *check], capture_output=True).returncode != 0:
        if service.poll() is not None:
            raise BrokenPromise(f"it ended with {service.returncode} before it was healthy")
        if time.monotonic() - started > _READY_WITHIN_S:
            raise BrokenPromise(f"it is not healthy after {_READY_WITHIN_S} s")
        time.sleep(0.2)
    say(f"healthy after {time.monotonic() - started:.1f} s")
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}/embed",
        data=json.dumps({"inputs": ["Wo ist der Bahnhof?"]}).encode(),
        headers={"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=30) as response:
        answer = json.load(response)
    say(f"{answer['model']} embeds into {len(answer['data'][0]['embedding'])} dimensions")
    found = output("runc", "exec", name, "sh", "-c", _PROBE)
    if found:
        raise BrokenPromise(found.replace("\n", "; "))
    process = json.loads(output("runc", "state", name))["pid"]
    (peak,) = (
        line.split()[1]
        for line in Path(f"/proc/{process}/status").read_text().splitlines()
        if line.startswith("VmHWM:")
    )
    say(f"peak memory so far {int(peak) / 1024:.0f} MiB")


def try_image(image_name: str, folder: Path) -> None:
    """Run the image once, from start to SIGTERM."""
    inspected = json.loads(output("buildah", "inspect", "--type", "image", image_name))
    image = inspected["Docker"]["config"]
    size = output("buildah", "images", "--format", "{{.Size}}", image_name).splitlines()[0]
    say(f"{image_name}: {size}")
    name = f"try-{os.getpid()}"
    port = free_port()
    container = output("buildah", "from", image_name)
    try:
        bundle_of(image, output("buildah", "mount", container), folder, port)
        service = subprocess.Popen(["runc", "run", "--bundle", str(folder), name])
        try:
            try_running(service, name, image["Healthcheck"]["Test"][1:], port)
            subprocess.run(["runc", "kill", name, "TERM"], check=True)
            code = service.wait(_STOPPED_WITHIN_S)
        finally:
            if service.poll() is None:
                subprocess.run(["runc", "delete", "--force", name], check=False)
                service.wait()
    finally:
        output("buildah", "rm", container)
    if code != 0:
        raise BrokenPromise(f"after SIGTERM it ended with {code}")
    say("SIGTERM: ended with 0")


def main() -> int:
    with tempfile.TemporaryDirectory(prefix="polygrain-image-") as folder:
        try:
            try_image(sys.argv[1], Path(folder))
        except (BrokenPromise, subprocess.SubprocessError) as error:
            sys.stderr.write(f"{error}\n")
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
