"""An S3 of our own on 127.0.0.1: moto's server, which keeps everything in memory."""

import logging
import secrets
import threading
from collections.abc import Iterator

import pytest


class S3:
    """A server with one empty bucket, for clients that take the address from the environment."""

    def __init__(self) -> None:
        self.bucket = f"t2t-{secrets.token_hex(4)}"
        self._port = 0
        self.start()

    @property
    def environment(self) -> dict[str, str]:
        return {
            "AWS_ENDPOINT_URL": f"http://127.0.0.1:{self._port}",
            "AWS_ACCESS_KEY_ID": "x",
            "AWS_SECRET_ACCESS_KEY": "x",
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_EC2_METADATA_DISABLED": "true",
        }

    def url(self, name: str) -> str:
        """Of a folder in the bucket."""
        return f"s3://{self.bucket}/{name}"

    def start(self) -> None:
        """Listens, at the address of before; what it holds has outlived a `stop`."""
        from moto.server import DomainDispatcherApplication, create_backend_app
        from werkzeug.serving import make_server

        application = DomainDispatcherApplication(create_backend_app)
        self._server = make_server("127.0.0.1", self._port, application, threaded=True)
        self._port = self._server.server_port
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Refuses connections from now on."""
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


@pytest.fixture
def s3(monkeypatch) -> Iterator[S3]:
    """The server, known to this test and to what it starts."""
    import s3fs

    monkeypatch.setattr(logging.getLogger("werkzeug"), "level", logging.ERROR)
    server = S3()
    for name, value in server.environment.items():
        monkeypatch.setenv(name, value)
    s3fs.S3FileSystem.clear_instance_cache()  # of a server of before
    s3fs.S3FileSystem().mkdir(server.bucket)
    yield server
    server.stop()
