# SPDX-License-Identifier: Apache-2.0
"""Does with a Python library what the lines of standard input ask for, each a JSON object, and answers each with one.

    client.py pygnmi|aiognmi HOST PORT

An answer is {"values": {path: value}}, {"encodings": [...]}, {"ops": [...]} or {"error": code, "message": text}.
"""

import asyncio
import json
import logging
import sys

logging.disable(logging.CRITICAL)  # what goes wrong is an answer


def refused(code, message):
    return {"error": code, "message": message}


class Pygnmi:
    def __init__(self, host, port):
        from pygnmi.client import gNMIclient

        self.client = gNMIclient(target=(host, port), insecure=True, gnmi_timeout=30)
        self.client.connect()
        self.stream = None

    def do(self, ask):
        from pygnmi.client import gNMIException

        try:
            return getattr(self, ask.pop("do"))(**ask)
        except gNMIException as e:
            return refused(e.orig_exc.code().name, e.orig_exc.details())

    def capabilities(self):
        c = self.client.capabilities()
        return {
            "encodings": [e.upper() for e in c["supported_encodings"]],
            "models": len(c["supported_models"]),
            "version": c["gnmi_version"],
        }

    def get(self, path, type, encoding):
        got = self.client.get(path=[path], datatype=type, encoding=encoding)
        return {"values": {"/" + u["path"]: u["val"] for n in got["notification"] for u in n.get("update", [])}}

    def set(self, delete=(), replace=(), update=()):
        def raw(pairs):  # pygnmi sends a string as it is, so it must be JSON already
            return [(p, json.dumps(v) if isinstance(v, str) else v) for p, v in pairs]

        done = self.client.set(delete=list(delete), replace=raw(replace), update=raw(update), encoding="json_ietf")
        return {"ops": [r["op"] for r in done["response"]]}

    def list(self, mode, path):
        return {"subscription": [{"path": path}], "mode": mode, "encoding": "json_ietf"}

    def once(self, path):
        values, synced = {}, 0
        for m in self.client.subscribe2(self.list("once", path)):
            values.update(leaves(m))
            synced += "sync_response" in m
        return {"values": values, "synced": synced}

    def poll(self, path):
        call = self.client.subscribe2(self.list("poll", path))
        try:
            return {"values": leaves(call.get_update(timeout=30))}
        finally:
            call.close()

    def open(self, path):
        """Opens a STREAM and reads up to its sync."""
        self.stream = self.client.subscribe2(self.list("stream", path) | {"subscription": [{"path": path, "mode": "on_change"}]})
        return {"values": leaves(self.stream.get_update(timeout=30))}

    def next(self):
        m = self.stream.get_update(timeout=30)
        return {"values": leaves(m), "deleted": ["/" + d["path"] for d in m.get("update", {}).get("delete", [])]}


def leaves(m):
    n = m.get("update", {})
    prefix = n.get("prefix") or ""
    return {"/" + (prefix + "/" if prefix else "") + u["path"]: u["val"] for u in n.get("update", [])}


class Aiognmi:
    """It has no Subscribe."""

    def __init__(self, host, port):
        from aiognmi import AsyncgNMIClient

        self.loop = asyncio.new_event_loop()
        self.client = AsyncgNMIClient(host=host, port=port, username="", password="", insecure=True)
        self.loop.run_until_complete(self.client.connect())

    def do(self, ask):
        answer = self.loop.run_until_complete(getattr(self, ask.pop("do"))(**ask))
        if isinstance(answer, dict):
            return answer
        return refused(answer.raw_result.code().name, answer.raw_result.details())

    async def capabilities(self):
        r = await self.client.get_capabilities()
        if r.failed:
            return r
        c = r.result
        return {
            "encodings": [e.upper() for e in c["supported_encodings"]],
            "models": len(c["supported_models"]),
            "version": c["gNMI_version"],
        }

    async def get(self, path, type, encoding):
        r = await self.client.get(paths=[path], data_type=type, encoding=encoding)
        if r.failed:
            return r
        return {"values": {"/" + u["path"]: u["val"] for n in r.result["notifications"] for u in n["updates"]}}

    async def set(self, delete=(), replace=(), update=()):
        r = await self.client.set(
            delete=list(delete),
            replace=[{"path": p, "data": v} for p, v in replace],
            update=[{"path": p, "data": v} for p, v in update],
            encoding="json_ietf",
        )
        if r.failed:
            return r
        return {"ops": [u["op"] for u in r.result["update_results"]]}


def main():
    library, host, port = sys.argv[1:]
    client = {"pygnmi": Pygnmi, "aiognmi": Aiognmi}[library](host, int(port))
    for line in sys.stdin:
        print(json.dumps(client.do(json.loads(line))), flush=True)


main()
