"""A real S3 server for tests: SeaweedFS on loopback, on free ports, with credentials of its own."""

import hashlib
import hmac
import json
import random
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

ACCESS_KEY, SECRET_KEY = "timbrelkey", "timbrelsecret"
REGION = "us-east-1"
_PATIENCE_S = 60


@dataclass(frozen=True)
class S3Server:
    """A running server; `environment` is all that a client of it needs."""

    address: str
    pid: int

    @property
    def environment(self):
        return {
            "AWS_ACCESS_KEY_ID": ACCESS_KEY,
            "AWS_SECRET_ACCESS_KEY": SECRET_KEY,
            "AWS_REGION": REGION,
            "AWS_ENDPOINT_URL": f"http://{self.address}",
            "AWS_ALLOW_HTTP": "true",
        }

    def make_bucket(self, name):
        """obstore makes no buckets: one PUT, signed by hand (AWS Signature Version 4)."""
        now = datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")
        nothing = hashlib.sha256(b"").hexdigest()
        headers = {"host": self.address, "x-amz-content-sha256": nothing, "x-amz-date": now}
        signed = ";".join(headers)
        lines = "".join(f"{key}:{value}\n" for key, value in headers.items())
        scope = f"{now[:8]}/{REGION}/s3/aws4_request"
        request = hashlib.sha256(f"PUT\n/{name}\n\n{lines}\n{signed}\n{nothing}".encode()).hexdigest()
        key = b"AWS4" + SECRET_KEY.encode()
        for part in (*scope.split("/"), f"AWS4-HMAC-SHA256\n{now}\n{scope}\n{request}"):
            key = hmac.new(key, part.encode(), hashlib.sha256).digest()
        headers["Authorization"] = (
            f"AWS4-HMAC-SHA256 Credential={ACCESS_KEY}/{scope}, SignedHeaders={signed}, Signature={key.hex()}"
        )
        put = urllib.request.Request(f"http://{self.address}/{name}", method="PUT", headers=headers)
        _until(lambda: urllib.request.urlopen(put, timeout=5).close())


@contextmanager
def s3_server(folder):
    """A server that keeps its files and its log below `folder`, stopped at the end."""
    (folder / "data").mkdir(parents=True)
    identity = {"accessKey": ACCESS_KEY, "secretKey": SECRET_KEY}
    actions = ["Admin", "Read", "Write", "List", "Tagging"]
    identities = {"identities": [{"name": "tests", "credentials": [identity], "actions": actions}]}
    (folder / "s3.json").write_text(json.dumps(identities))
    master, volume, filer, s3 = _free_ports(4)
    weed = Path(sys.executable).with_name("weed")
    command = [
        str(weed if weed.exists() else shutil.which("weed")), "server",
        f"-dir={folder / 'data'}", "-ip=127.0.0.1", "-ip.bind=127.0.0.1",
        f"-master.port={master}", "-master.volumeSizeLimitMB=64", "-master.telemetry=false",
        f"-volume.port={volume}", "-volume.max=50",
        "-filer", f"-filer.port={filer}", f"-filer.localSocket={folder / 'filer.sock'}",
        "-s3", f"-s3.port={s3}", f"-s3.config={folder / 's3.json'}", f"-s3.localSocket={folder / 's3.sock'}",
        "-s3.port.iceberg=0", "-s3.port.lance=0",  # their ports are fixed, and another server may have them
    ]  # fmt: skip
    with (folder / "log").open("wb") as log:
        server = subprocess.Popen(command, cwd=folder, stdout=log, stderr=subprocess.STDOUT)
        try:
            address = f"127.0.0.1:{s3}"
            _until(lambda: _answers(address, server))
            yield S3Server(address, server.pid)
        finally:
            server.kill()  # its files are thrown away, so it need not say goodbye
            server.wait()
            for port in (master, volume, filer, s3):  # sockets that it leaves outside its folder
                for left in Path("/tmp").glob(f"seaweedfs-*-grpc-{port + 10_000}.sock"):
                    left.unlink()


def _answers(address, server):
    assert server.poll() is None, "the S3 server ended; see its log"
    try:
        urllib.request.urlopen(f"http://{address}/", timeout=5).close()
    except urllib.error.HTTPError as error:
        error.close()  # it refuses the unsigned, so it is up


def _until(attempt):
    """Call `attempt` until it raises no OSError."""
    deadline = time.monotonic() + _PATIENCE_S
    while True:
        try:
            return attempt()
        except OSError as error:
            getattr(error, "close", lambda: None)()
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)


def _free_ports(n):
    """Ports that are free, and so are those 10,000 above them, where SeaweedFS speaks gRPC.

    All lie below 32,768, from where Linux gives ports to whoever asks for any.
    """
    ports = []
    with ExitStack() as sockets:
        for port in random.Random().sample(range(12_000, 22_000), 1000):
            pair = [sockets.enter_context(socket.socket()) for _ in range(2)]
            try:
                pair[0].bind(("127.0.0.1", port))
                pair[1].bind(("127.0.0.1", port + 10_000))
            except OSError:
                continue
            ports.append(port)
            if len(ports) == n:
                break
    return ports
