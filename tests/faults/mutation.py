"""Damage to files, by seeded draws: what disks, copies and people do to them."""

import random
from pathlib import Path


def flip_bits(data: bytes, draws: random.Random) -> bytes:
    damaged = bytearray(data)
    for _ in range(draws.choice([1, 1, 3, 20])):
        damaged[draws.randrange(len(damaged))] ^= 1 << draws.randrange(8)
    return bytes(damaged)


def cut(data: bytes, draws: random.Random) -> bytes:
    return data[: draws.choice([0, 1, draws.randrange(len(data)), len(data) - 1])]


def zero_a_block(data: bytes, draws: random.Random) -> bytes:
    start = draws.randrange(len(data))
    length = min(draws.choice([1, 16, 512, 4096]), len(data) - start)
    return data[:start] + bytes(length) + data[start + length :]


def swap_blocks(data: bytes, draws: random.Random) -> bytes:
    length = max(1, min(draws.choice([1, 16, 512]), len(data) // 2))
    first, second = sorted(draws.randrange(len(data) - length + 1) for _ in range(2))
    second = max(second, first + length)
    if second + length > len(data):
        return data[::-1]
    one, other = data[first : first + length], data[second : second + length]
    return data[:first] + other + data[first + length : second] + one + data[second + length :]


def double_a_block(data: bytes, draws: random.Random) -> bytes:
    start = draws.randrange(len(data))
    block = data[start : start + draws.choice([1, 16, 512])]
    return data[:start] + block + data[start:]


def append(data: bytes, draws: random.Random) -> bytes:
    return data + draws.randbytes(draws.choice([1, 100]))


def replace_all(data: bytes, draws: random.Random) -> bytes:
    return draws.choice([draws.randbytes(200), b"<html>404</html>", b"null", b"{}", b"\x00" * 64])


def change_a_digit(data: bytes, draws: random.Random) -> bytes:
    digits = [place for place, byte in enumerate(data) if chr(byte).isdigit()]
    if not digits:
        return flip_bits(data, draws)
    place = draws.choice(digits)
    return data[:place] + str(draws.randrange(10)).encode() + data[place + 1 :]


MUTATIONS = (
    *(flip_bits, flip_bits, cut, zero_a_block, swap_blocks),
    *(double_a_block, append, replace_all, change_a_digit, change_a_digit),
)
MOST_DRAWS = 100


def mutate(path: Path, others: list[Path], draws: random.Random) -> str:
    """Damages the file `path`, or puts another of `others` in its place; says how.

    Draws again where no byte would change. Raises RuntimeError where none ever does.
    """
    data = path.read_bytes()
    for _ in range(MOST_DRAWS):
        damaged, how = _drawn(data, others, draws)
        if damaged != data:
            path.write_bytes(damaged)
            return how
    raise RuntimeError(f"{path.name}: no draw of {MOST_DRAWS} changed it")


def _drawn(data: bytes, others: list[Path], draws: random.Random) -> tuple[bytes, str]:
    if others and draws.random() < 0.1:
        other = draws.choice(others)
        return other.read_bytes(), f"{other.name} in its place"
    mutation = draws.choice(MUTATIONS)
    return mutation(data, draws), mutation.__name__
