"""Format 2 on disk: arrays with a leading axis over frames, appended in blocks that survive a kill."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from numpy.typing import NDArray
from zarr.codecs import Crc32cCodec, ZstdCodec

from ionecho.data.archives import WHOLE, keeping_zeros


def append(group: Any, done: int, arrays: Mapping[str, NDArray], block: int, **state: Any) -> int:
    """Write a block of frames behind the `done` ones and commit it, with what a resumed run has to know.

    Parameters
    ----------
    group
        The zarr group; its attribute `committed` counts the frames that are safely in it.
    arrays
        Arrays with a leading axis over the frames of the block, all of one length.
    block
        Chunk length of arrays that are new.
    state
        Attributes that change together with `committed`.

    Returns
    -------
    int
        Frames committed now.
    """
    length = done
    with keeping_zeros():
        for name, values in arrays.items():
            if name not in group:
                dtype: Any = str if values.dtype.kind in "OTU" else values.dtype
                shape, chunks = (0, *values.shape[1:]), (block, *values.shape[1:])
                codecs = (ZstdCodec(), Crc32cCodec())
                made = {"dtype": dtype, "compressors": codecs, "attributes": {WHOLE: True}}
                group.create_array(name, shape=shape, chunks=chunks, **made)
            length = done + len(values)
            group[name].resize((length, *values.shape[1:]))
            group[name][done:] = values
    group.update_attributes({"committed": length, **state})
    return length


def truncate(group: Any) -> None:
    """Leave out what a kill left behind the committed frames."""
    length = group.attrs["committed"]
    for name, array in group.arrays():
        if name not in ("numbers", "centres"):
            array.resize((length, *array.shape[1:]))
