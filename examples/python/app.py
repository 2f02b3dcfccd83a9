"""An application that reads two files which belong together, at its start and whenever it is told."""

import json
import os
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


def read_together(volume, names):
    """The files of one generation, and its number: `..data` is opened once, everything else beneath it."""
    generation = os.open(os.path.join(volume, "..data"), os.O_RDONLY | os.O_DIRECTORY)
    try:
        files = {}
        for name in names:
            with open(name, "rb", opener=lambda path, flags: os.open(path, flags, dir_fd=generation)) as file:
                files[name] = file.read().decode()
        return files
    finally:
        os.close(generation)


class Database:
    """Stands for what needs the credentials. It refuses a password that is not its user's."""

    def __init__(self, user, password):
        if not password.startswith(user):
            raise ValueError(f"the database does not let {user} in")
        self.user = user


def connect(volume):
    files = read_together(volume, ["db/user", "db/password"])
    return Database(files["db/user"], files["db/password"])


class Application(BaseHTTPRequestHandler):
    def do_POST(self):
        """Sidekey's hook. The old connection stays in use until the new one is known to be good."""
        told = f"told of generation {self.headers['Sidekey-Generation']}"
        try:
            self.server.database = connect(self.server.volume)
        except (OSError, ValueError) as error:
            print(f"application: {told}, but {error}: going on with {self.server.database.user}", flush=True)
            return self.answer(503, {"error": str(error)})
        print(f"application: {told}, now connected as {self.server.database.user}", flush=True)
        self.answer(200, {})

    def do_GET(self):
        self.answer(200, {"connected_as": self.server.database.user})

    def answer(self, status, body):
        body = json.dumps(body).encode() + b"\n"
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


def main(volume, port):
    server = ThreadingHTTPServer(("127.0.0.1", int(port)), Application)
    server.volume = volume
    server.database = connect(volume)
    print(f"application: started, connected as {server.database.user}", flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main(*sys.argv[1:])
