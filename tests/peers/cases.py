"""Runs the cases of a client program and reports them as cases.md says."""

import asyncio
import json
import sys
import traceback

PATIENCE = 20


def say(**event):
    print(json.dumps(event), flush=True)


async def run(cases):
    """Each case is an async function, which fails by raising; its name is the case's."""
    failed = 0
    for case in cases:
        ok, detail = True, ""
        try:
            await asyncio.wait_for(case(), PATIENCE)
        except Exception:  # Whatever it was, it belongs into the report.
            ok, detail, failed = False, traceback.format_exc(), failed + 1
        say(case=case.__name__, ok=ok, detail=detail)
    sys.exit(1 if failed else 0)
