"""A web server on this machine, for what is downloaded."""

import hashlib
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from t2t.data.sources.fetch import Remote


class Served:
    """Files by name; of one in `cut`, half is sent and the connection closed."""

    def __init__(self, address: str):
        self.address, self.files, self.cut, self.asked = address, {}, set(), []

    def add(self, name: str, content: bytes) -> Remote:
        """Serves `content` and returns where it is, with its MD5."""
        self.files[name] = content
        return Remote(f"{self.address}/{name}", hashlib.md5(content).hexdigest())


@contextmanager
def serving() -> Iterator[Served]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            name = self.path.lstrip("/")
            served.asked.append(name)
            if name not in served.files:
                self.send_error(404)
                return
            content = served.files[name]
            self.send_response(200)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content[: len(content) // 2] if name in served.cut else content)

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    served = Served(f"http://127.0.0.1:{server.server_port}")
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield served
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
