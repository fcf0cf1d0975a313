"""Servers on loopback that tests kill and start again in mid-stream."""

import socket
import struct
import threading

PATIENCE_SECONDS = 20


class StreamServer:
    """An HTTP server that sends one body without an end to whoever connects, until it is killed.

    ``body`` is sent at once; the connection then stays open, as that of a camera that has nothing new.
    ``kill`` resets all connections and frees the port; ``start`` serves on the same port again.
    """

    def __init__(self, content_type, body):
        self.content_type, self.body = content_type, body
        self.port = 0
        self._listener = None
        self._clients = []
        self._lock = threading.Lock()
        self.connected = threading.Semaphore(0)

    @property
    def url(self):
        return f"http://127.0.0.1:{self.port}/stream"

    def start(self, body=None):
        self.body = self.body if body is None else body
        self._listener = socket.create_server(("127.0.0.1", self.port), reuse_port=False)
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, args=(self._listener,), daemon=True).start()
        return self

    def _accept(self, listener):
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            with self._lock:
                self._clients.append(client)
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client):
        try:
            request = b""
            while b"\r\n\r\n" not in request:
                received = client.recv(4096)
                if not received:
                    return
                request += received
            head = f"HTTP/1.1 200 OK\r\nContent-Type: {self.content_type}\r\nConnection: close\r\n\r\n"
            client.sendall(head.encode() + self.body)
            self.connected.release()
        except OSError:
            pass  # the test killed the connection

    def send(self, data):
        """Send more to every client."""
        with self._lock:
            for client in self._clients:
                client.sendall(data)

    def kill(self):
        """Reset every connection and stop listening."""
        listener, self._listener = self._listener, None
        if listener is not None:
            # Closing alone does not wake a thread that waits in accept.
            listener.shutdown(socket.SHUT_RDWR)
            listener.close()
        with self._lock:
            for client in self._clients:
                client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                client.close()
            self._clients.clear()

    def __enter__(self):
        return self.start()

    def __exit__(self, *_):
        self.kill()


def mjpeg_part(jpeg):
    """One picture of a motion JPEG stream with the boundary ``frame``."""
    head = f"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: {len(jpeg)}\r\n\r\n"
    return head.encode() + jpeg + b"\r\n"
