"""Streams in Amaranth's simulator: feed one end, take from and check the other."""

import random


async def feed(ctx, port, items, *, gap=0.0, seed=0):
    """Offer items to a stream input, each held back with probability ``gap`` per cycle."""
    generator = random.Random(f"feed {seed}")
    for item in items:
        while gap and generator.random() < gap:
            await ctx.tick()
        ctx.set(port.payload, item)
        ctx.set(port.valid, 1)
        await ctx.tick().until(port.ready)
        ctx.set(port.valid, 0)


async def take(ctx, port, *, stall=0.0, seed=0):
    """Yield what a stream output delivers, not ready with probability ``stall`` per cycle.

    A payload that is offered must stay until it is taken.
    """
    generator = random.Random(f"take {seed}")
    waiting = None
    while True:
        ready = not stall or generator.random() >= stall
        ctx.set(port.ready, ready)
        _, _, valid, payload = await ctx.tick().sample(port.valid, port.payload)
        if waiting is not None:
            assert valid, "valid fell before the payload was taken"
            assert payload == waiting, "the payload changed before it was taken"
        waiting = None
        if valid and ready:
            yield payload
        elif valid:
            waiting = payload
