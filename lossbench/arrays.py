"""Arrays by name: a digest of what is in them or, where they are few numbers, those numbers themselves."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from lossbench.errors import StoreError

FEW = 16  # Most edges have one number or a row of them, and a file for each would make thousands.


class Arrays:
    """A folder of arrays. Any number of processes may put the same array at the same time.

    A name is text such as `float32(2,): 0.5 -inf`, every number in it exact, or the hexadecimal digits of a `.npy`.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def put(self, array: np.ndarray) -> str:
        """Keep *array*, of floats or integers; its name, the same for arrays with the same bits."""
        array = np.ascontiguousarray(array).reshape(np.shape(array))
        if array.size <= FEW:
            return f"{array.dtype}{array.shape}: {' '.join(map(str, array.ravel().tolist()))}"
        name = digest({"": array})
        path = self.folder / f"{name}.npy"
        if not path.exists():
            partial = self.folder / f"{name}.{os.getpid()}"
            with partial.open("wb") as file:
                np.save(file, array)
            partial.replace(path)  # So that a file with the right name is never half an array.
        return name

    def get(self, name: str) -> np.ndarray:
        """The array of that name.

        Raises:
            StoreError: It is not there, or its file is damaged.
        """
        kind, found, numbers = name.partition(": ")
        if found:
            dtype, _, shape = kind.rstrip(")").partition("(")
            sizes = [int(size) for size in shape.split(",") if size.strip()]
            read = int if dtype.startswith("int") else float
            return np.array([read(number) for number in numbers.split()], dtype).reshape(sizes)
        path = self.folder / f"{name}.npy"
        try:
            return np.asarray(np.load(path, allow_pickle=False))
        except (OSError, ValueError) as error:
            raise StoreError(f"{path}: no such array, or damaged ({error}); run its job again") from None


def digest(arrays: Mapping[str, np.ndarray]) -> str:
    """Of names, types, shapes and bits."""
    sha = hashlib.sha256()
    for name, array in sorted(arrays.items()):
        sha.update(f"{name} {array.dtype} {array.shape};".encode())
        sha.update(np.ascontiguousarray(array).tobytes())
    return sha.hexdigest()[:32]
