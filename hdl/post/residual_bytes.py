"""Bytes of a stored map as the signed values that are added to results."""

from amaranth.hdl import Cat, Mux

__all__ = ["residual_values"]


def residual_values(config, run, stored):
    """Return the value of every result lane.

    Parameters
    ----------
    config : Config
        With `residual`.
    run : Residual
        Whether values are two's complement, and take two bytes (only with `residual.wide`).
    stored : sequence of Value
        Bytes of the map, those of the first lane first; two for each lane that may be wide.

    Returns
    -------
    list of Value
        Of `config.residual.value_width` bits, signed.
    """
    values = []
    for lane in range(config.post.width):
        low = stored[lane]
        value = Cat(low, low[7] & run.res_signed).as_signed()
        if config.residual.wide:
            wide = Cat(stored[2 * lane], stored[2 * lane + 1])
            value = Mux(run.res_wide, Cat(wide, wide[15] & run.res_signed).as_signed(), value)
        values.append(value)
    return values
