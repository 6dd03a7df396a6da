"""A score that a server gives, with the smallest server: JSON of texts in, JSON of values by id out."""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import zmax

LETTERS, MOTIF = "ACGT", "GATTACA"


known: dict[str, float] = {}  # by id: what is asked for again is not scored again


class Oracle(BaseHTTPRequestHandler):
    """Scores words by the letters that agree with the motif."""

    def do_POST(self) -> None:
        """Answer one request."""
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        for name, word in zip(asked["ids"], asked["samples"], strict=True):
            if name not in known:
                known[name] = float(sum(a == b for a, b in zip(word, MOTIF, strict=True)))
        self.send_response(200)
        self.end_headers()
        self.wfile.write(json.dumps({"scores": {name: known[name] for name in asked["ids"]}}).encode())

    def log_message(self, *words: object) -> None:
        """Say nothing of each request."""


server = ThreadingHTTPServer(("127.0.0.1", 0), Oracle)
threading.Thread(target=server.serve_forever, daemon=True).start()

G = zmax.generator(
    lambda z: ["".join(LETTERS[i] for i in row) for row in z.argmax(2).tolist()],
    shape=(len(MOTIF), len(LETTERS)),
    modality="text",
)
r = zmax.maximize(G, f"http://127.0.0.1:{server.server_port}/score", budget=300)
print(f"{r.best.sample} scores {r.best.score:.0f} of {len(MOTIF)}, {r.ledger.recalled} samples were known before")
assert r.best.score >= 6
