"""Queues a job with the bullmq package, then ranks with grpcio.

python test/e2e/python_client.py PROTO_FOLDER REDIS_URL RANKING_ADDRESS
"""

import asyncio
import importlib
import json
import struct
import sys
import tempfile
import time
import zlib

import grpc
from bullmq import Queue
from grpc_tools import protoc

PARTITIONS, USER = 16, "py"


async def push(redis_url: str) -> None:
    name = f"interactions-{zlib.crc32(USER.encode()) % PARTITIONS}"
    queue = Queue(name, {"connection": redis_url, "prefix": "{ckv}"})
    start_ms = 1_700_000_000_000
    interactions = [
        {"eventId": f"py-{i}", "userId": USER, "itemId": f"i{i + 1:04d}", "timestampMs": start_ms + i}
        for i in range(20)
    ]
    await queue.add("record", {"version": 1, "interactions": interactions})
    await queue.close()


def rank(protos: str, target: str) -> dict:
    out = tempfile.mkdtemp()
    names = ["tensor", "interaction", "ranking"]
    files = [f"{protos}/collectivekv/v1/{name}.proto" for name in names]
    assert protoc.main(["", f"-I{protos}", f"--python_out={out}", f"--grpc_python_out={out}", *files]) == 0
    sys.path.insert(0, out)
    messages = importlib.import_module("collectivekv.v1.ranking_pb2")
    services = importlib.import_module("collectivekv.v1.ranking_pb2_grpc")
    with grpc.insecure_channel(target) as channel:
        ranking = services.RankingServiceStub(channel)
        request = messages.RankRequest(user_id=USER, candidate_ids=["i0001", "i0002", "i0003"])
        for _ in range(200):
            answer = ranking.Rank(request, timeout=5)
            if answer.info.position_count == 20:
                break
            time.sleep(0.05)
        streamed = [struct.unpack("<3f", one.scores) for one in ranking.RankStream(iter([request] * 2), timeout=5)]
    return {
        "scores": struct.unpack("<3f", answer.scores),
        "streamed": streamed,
        "positions": answer.info.position_count,
    }


if __name__ == "__main__":
    asyncio.run(push(sys.argv[2]))
    print(json.dumps(rank(sys.argv[1], sys.argv[3])))
