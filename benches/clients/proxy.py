#!/usr/bin/env python3
"""A proxy that writes down what a client asks a server and what comes back, unchanged in both directions.

    python benches/clients/proxy.py 8300 http://127.0.0.1:8202 LOG-FOLDER

Every exchange becomes `NNN.json` in the folder: method, path, fields, body (as JSON where it is), status, and the answer's text
(shortened to --limit characters, in the middle). A line for each is printed. Keys are not written down.
"""

import argparse
import http.client
import http.server
import itertools
import json
import threading
import time
from pathlib import Path
from urllib.parse import urlsplit

HIDDEN = {"authorization", "x-api-key", "api-key", "cookie"}
HOP = {"connection", "keep-alive", "transfer-encoding", "host", "content-length"}


def shorten(text, limit):
    """The text without its middle if it is too long."""
    return text if len(text) <= limit else f"{text[:limit // 2]} [... {len(text) - limit} characters ...] {text[-limit // 2:]}"


def readable(raw):
    """The body as JSON, or else as text."""
    try:
        return json.loads(raw) if raw else None
    except ValueError:
        return raw.decode(errors="replace")


class Proxy(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    numbers = itertools.count(1)
    target, folder, limit, change = None, None, 20000, None

    def body(self):
        """The request's body, whether it has a length or comes in chunks."""
        if "chunked" in self.headers.get("Transfer-Encoding", "").lower():
            whole = b""
            while (size := int(self.rfile.readline().split(b";")[0], 16)):
                whole += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
            return whole
        return self.rfile.read(int(self.headers.get("Content-Length") or 0))

    def exchange(self):
        number, start = next(self.numbers), time.time()
        asked = self.body()
        if self.change:
            asked = self.change(self.path, asked)
        record = {"method": self.command, "path": self.path, "fields": {name: "(hidden)" if name.lower() in HIDDEN else value for name, value in self.headers.items()},
                  "body": readable(asked)}
        said = b""
        try:
            upstream = http.client.HTTPConnection(self.target.hostname, self.target.port or 80, timeout=600)
            # Answers are to be readable, so none of the packed forms is asked for.
            fields = {name: value for name, value in self.headers.items() if name.lower() not in HOP | {"accept-encoding"}}
            upstream.request(self.command, self.target.path.rstrip("/") + self.path, asked or None, {**fields, "Host": self.target.netloc})
            answer = upstream.getresponse()
            record["status"] = answer.status
            self.send_response_only(answer.status)
            for name, value in answer.getheaders():
                if name.lower() not in HOP:
                    self.send_header(name, value)
            self.send_header("Connection", "close")
            self.end_headers()
            while (piece := answer.read1(65536)):
                said += piece
                self.wfile.write(piece)
                self.wfile.flush()
        except OSError as error:
            record["broken"] = f"{type(error).__name__} {error}"
        finally:
            # Closing this end is how the server learns that the client has gone.
            upstream.close()
        self.close_connection = True
        record["seconds"] = round(time.time() - start, 2)
        record["answer"] = shorten(said.decode(errors="replace"), self.limit)
        (self.folder / f"{number:03}.json").write_text(json.dumps(record, indent=1, ensure_ascii=False))
        print(f"{number:03} {self.command} {self.path} {len(asked)} bytes -> {record.get('status')} {len(said)} bytes in {record['seconds']} s"
              + (f" ({record['broken']})" if "broken" in record else ""), flush=True)

    do_GET = do_POST = do_PUT = do_DELETE = do_HEAD = do_OPTIONS = do_PATCH = exchange

    def log_message(self, *_):
        pass


def start(port, target, folder, limit=20000, change=None):
    """Starts the proxy in a thread of its own; gives the server, whose `shutdown` ends it.

    `change`, if given, makes of the path and the body of a request the body that is sent on.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    handler = type("Bound", (Proxy,), {"target": urlsplit(target), "folder": folder, "limit": limit, "change": staticmethod(change) if change else None, "numbers": itertools.count(1)})
    server = http.server.ThreadingHTTPServer(("127.0.0.1", port), handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("port", type=int)
    parser.add_argument("target", help="the server, without a path")
    parser.add_argument("folder", help="where the exchanges are written")
    parser.add_argument("--limit", type=int, default=20000)
    args = parser.parse_args()
    start(args.port, args.target, args.folder, args.limit)
    threading.Event().wait()


if __name__ == "__main__":
    main()
