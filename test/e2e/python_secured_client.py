"""Queues a job with the bullmq package and ranks with grpcio, both over TLS with a client certificate.

python test/e2e/python_secured_client.py PROTO_FOLDER REDIS_URL RANKING_ADDRESS CA_FILE CERT_FILE KEY_FILE TOKEN
"""

import asyncio
import importlib
import sys
import tempfile
import time
import zlib

import grpc
from bullmq import Queue
from grpc_tools import protoc

PARTITIONS, USER = 16, "py-secured"


async def push(redis_url: str) -> None:
    name = f"interactions-{zlib.crc32(USER.encode()) % PARTITIONS}"
    queue = Queue(name, {"connection": redis_url, "prefix": "{ckv}"})
    interaction = {"eventId": "py-1", "userId": USER, "itemId": "i0001", "timestampMs": 1_700_000_000_000}
    await queue.add("record", {"version": 1, "interactions": [interaction]})
    await queue.close()


def read(path: str) -> bytes:
    with open(path, "rb") as file:
        return file.read()


def rank(protos: str, target: str, ca: str, cert: str, key: str, token: str) -> int:
    out = tempfile.mkdtemp()
    files = [f"{protos}/collectivekv/v1/{name}.proto" for name in ["tensor", "interaction", "ranking"]]
    assert protoc.main(["", f"-I{protos}", f"--python_out={out}", f"--grpc_python_out={out}", *files]) == 0
    sys.path.insert(0, out)
    messages = importlib.import_module("collectivekv.v1.ranking_pb2")
    services = importlib.import_module("collectivekv.v1.ranking_pb2_grpc")
    credentials = grpc.ssl_channel_credentials(read(ca), read(key), read(cert))
    headers = [("authorization", f"Bearer {token}")]
    with grpc.secure_channel(target, credentials) as channel:
        stub = services.RankingServiceStub(channel)
        request = messages.RankRequest(user_id=USER, candidate_ids=["i0001"])
        for _ in range(600):
            count = stub.Rank(request, timeout=10, metadata=headers).info.position_count
            if count == 1:
                break
            time.sleep(0.05)
    return count


if __name__ == "__main__":
    asyncio.run(push(sys.argv[2]))
    print(rank(sys.argv[1], *sys.argv[3:]))
