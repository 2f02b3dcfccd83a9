"""Connects again and again, trusts one CA only, and says each new certificate that it is shown."""

import http.client
import ssl
import sys
import time


def main(ca_file, port, wanted):
    trust = ssl.create_default_context(cafile=ca_file)
    seen, requests = [], 0
    deadline = time.monotonic() + 60
    while len(seen) < int(wanted):
        if time.monotonic() > deadline:
            sys.exit(f"saw {len(seen)} certificates in a minute")
        # A certificate that has ended, or a key that is not its own, raises here and ends the example.
        connection = http.client.HTTPSConnection("localhost", int(port), context=trust, timeout=10)
        connection.request("GET", "/")
        serial = connection.sock.getpeercert()["serialNumber"]
        if connection.getresponse().read() != b"hello\n":
            sys.exit("nginx answered something else")
        connection.close()
        requests += 1
        if serial not in seen:
            seen.append(serial)
            print(f"client: certificate {len(seen)} has the serial number {serial}", flush=True)
        time.sleep(0.05)
    print(f"client: {len(seen)} certificates, {requests} requests, none failed")


if __name__ == "__main__":
    main(*sys.argv[1:])
