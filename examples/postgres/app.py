"""An application with a database behind it: it queries without a pause, and takes a new user when told."""

import json
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import psycopg


class Orders:
    """One connection, replaced by the next when there is one. Who is replaced finishes what it began."""

    def __init__(self):
        self.lock = threading.Lock()
        self.users, self.queries, self.failed = [], 0, 0
        self.connect()

    def connect(self):
        # libpq looks up user and password in PGSERVICEFILE for each connection.
        connection = psycopg.connect("service=orders", autocommit=True)
        with self.lock:
            old, self.connection = getattr(self, "connection", None), connection
            self.users.append(connection.info.user)
        if old:
            old.close()

    def query_without_a_pause(self):
        while True:
            try:
                with self.lock:
                    self.connection.execute("SELECT number FROM orders").fetchone()
                self.queries += 1
            except psycopg.Error as error:
                self.failed += 1
                print(f"application: {error}", flush=True)
            time.sleep(0.01)


class Application(BaseHTTPRequestHandler):
    def do_POST(self):
        """Sidekey's hook: 200 only when the new user could connect."""
        try:
            self.server.orders.connect()
        except psycopg.Error as error:
            print(f"application: told, but {error}", flush=True)
            return self.answer(503, {"error": "no connection"})
        print(f"application: user {len(self.server.orders.users)} is connected", flush=True)
        self.answer(200, {})

    def do_GET(self):
        orders = self.server.orders
        self.answer(200, {"users": orders.users, "queries": orders.queries, "failed": orders.failed})

    def answer(self, status, body):
        body = json.dumps(body).encode() + b"\n"
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


def main(port):
    server = ThreadingHTTPServer(("127.0.0.1", int(port)), Application)
    server.orders = Orders()
    print("application: user 1 is connected", flush=True)
    threading.Thread(target=server.orders.query_without_a_pause, daemon=True).start()
    server.serve_forever()


if __name__ == "__main__":
    main(*sys.argv[1:])
