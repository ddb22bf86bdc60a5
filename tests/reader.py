#!/usr/bin/env python3
"""Reads one snapshot of a `tarext/1` repository by agent/repository/FORMAT.md alone, and checks all that the text says can
be checked: a second opinion, which shares no line with the engine.

    reader.py REPO_DIR VOLUME/SESSION [--identity FILE]

Prints one JSON line for each row, after everything was verified. Exit 1, with a sentence that names the object, on any
mismatch. Needs the programs zstd and, for an encrypted repository, age. Byte strings are printed in hexadecimal.
"""
import argparse, base64, binascii, hashlib, json, os, re, struct, subprocess, sys, tarfile, tempfile
from decimal import Decimal
from glob import glob

KINDS = ["directory", "file", "symlink", "hardlink", "fifo", "chardev", "blockdev", "socket"]
TAR_TYPES = [b"5", b"0", b"2", b"1", b"6", b"3", b"4"]


class Bad(Exception):
    pass


def need(holds, sentence):
    if not holds:
        raise Bad(sentence)


def sha(*parts):
    return hashlib.sha256(b"".join(parts)).digest()


# --- Ed25519 (RFC 8032, 5.1.7), points as (X, Y, Z, T) --------------------------------------------------------------------
P, L = 2**255 - 19, 2**252 + 27742317777372353535851937790883648493
D = -121665 * pow(121666, P - 2, P) % P


def point_add(a, b):
    s, t = (a[1] - a[0]) * (b[1] - b[0]) % P, (a[1] + a[0]) * (b[1] + b[0]) % P
    c, d = 2 * a[3] * b[3] * D % P, 2 * a[2] * b[2] % P
    e, f, g, h = t - s, d - c, d + c, t + s
    return e * f % P, g * h % P, f * g % P, e * h % P


def point_times(n, a):
    total = (0, 1, 1, 0)
    while n:
        if n & 1:
            total = point_add(total, a)
        a, n = point_add(a, a), n >> 1
    return total


def point(encoded):
    y = int.from_bytes(encoded, "little")
    sign, y = y >> 255, y & (1 << 255) - 1
    square = (y * y - 1) * pow(D * y * y + 1, P - 2, P) % P
    x = pow(square, (P + 3) // 8, P)
    if (x * x - square) % P:
        x = x * pow(2, (P - 1) // 4, P) % P
    if y >= P or (x * x - square) % P or (x == 0 and sign):
        return None
    x = P - x if x & 1 != sign else x
    return x, y, 1, x * y % P


BASE = point((4 * pow(5, P - 2, P) % P).to_bytes(32, "little"))


def ed25519_holds(public, message, signature):
    a, r, s = point(public), point(signature[:32]), int.from_bytes(signature[32:], "little")
    if len(public) != 32 or len(signature) != 64 or a is None or r is None or s >= L:
        return False
    h = int.from_bytes(hashlib.sha512(signature[:32] + public + message).digest(), "little") % L
    left, right = point_times(s, BASE), point_add(r, point_times(h, a))
    return all((left[i] * right[2] - right[i] * left[2]) % P == 0 for i in (0, 1))


# --- Primitives (§1) ----------------------------------------------------------------------------------------------------
class Cursor:
    def __init__(self, data, name):
        self.data, self.at, self.name = data, 0, name

    def take(self, n):
        need(n <= len(self.data) - self.at, f"{self.name}: ends too early")
        self.at += n
        return self.data[self.at - n : self.at]

    def u8(self):
        return self.take(1)[0]

    def varint(self):
        value = shift = 0
        while True:
            byte = self.u8()
            value |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                need((byte or shift == 7) and value < 1 << 64, f"{self.name}: a varint that is not in its shortest form")
                return value
            need(shift < 70, f"{self.name}: a varint of more than ten bytes")

    def zigzag(self):
        n = self.varint()
        return n >> 1 ^ -(n & 1)

    def bytes(self):
        return self.take(self.varint())

    def sessions(self):
        need(self.u8() == 1, f"{self.name}: of an unknown version")
        return [ulid_text(self.take(16)) for _ in range(self.varint())]

    def end(self):
        need(self.at == len(self.data), f"{self.name}: {len(self.data) - self.at} bytes are left over")


def varint(n):
    out = bytearray()
    while n > 127:
        out.append(n & 127 | 128)
        n >>= 7
    return bytes(out) + bytes([n])


CROCKFORD = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"


def ulid_text(raw):
    n = int.from_bytes(raw, "big")
    return "".join(CROCKFORD[n >> 5 * i & 31] for i in reversed(range(26)))


def escaped(volume):
    out = "".join(chr(b) if re.match(rb"[A-Za-z0-9._-]", bytes([b])) else "~%02X" % b for b in volume.encode())
    return "~2E" + out[1:] if out.startswith(".") else out


def pack_name(pack):
    return "v1/%s/%s/%06d.pk" % pack


def once(pairs):
    need(len(dict(pairs)) == len(pairs), "a JSON object names a member twice")
    return dict(pairs)


# --- Objects, packs, frames (§2, §3, §6, §8) --------------------------------------------------------------------------------
class Repository:
    def __init__(self, directory, identity, scratch):
        self.directory, self.identity, self.scratch = directory, identity, scratch
        self.packs, self.tables, self.touched = {}, {}, set()

    def stored(self, key):
        try:
            with open(os.path.join(self.directory, "v1", key), "rb") as file:
                return file.read()
        except OSError as error:
            raise Bad(f"v1/{key}: cannot be read ({error.strerror})")

    def run(self, command, data, name, **more):
        done = subprocess.run(command, input=data, stdout=subprocess.PIPE if "stdout" not in more else more["stdout"])
        need(done.returncode == 0, f"{name}: {command[0]} refuses it")
        return done.stdout

    def opened(self, data, name):
        if not data.startswith(b"age-encryption.org/v1\n"):
            return data
        need(self.identity, f"{name}: is encrypted, and no identity was given")
        return self.run(["age", "-d", "-i", self.identity], data, name)

    def signed(self, key, context, signers):
        """The JSON object, once the signature of one of `signers(document)` was found to hold."""
        raw = self.stored(key)
        cut = raw.rfind(b',"sig":"')
        need(cut > 0 and raw.endswith(b'"}') and len(raw) <= 1 << 20, f"v1/{key}: does not end with a signature")
        document = json.loads(raw, object_pairs_hook=once)
        need(document["format"] == "tarext/1", f"v1/{key}: of another format")
        signature = base64.b64decode(raw[cut + 8 : -2], validate=True)
        public = base64.b64decode(signers(document), validate=True)
        message = context + b"\0" + raw[:cut] + b"}"
        need(ed25519_holds(public, message, signature), f"v1/{key}: the signature does not hold")
        return document

    def side(self, key, said):
        data = self.stored(key)
        need(len(data) == said["bytes"] and sha(data).hex() == said["sha256"], f"v1/{key}: is not what the commit says")
        return data

    def commit(self, volume, session):
        def signer(document):
            need(document["signer"] in self.parameters["signers"], f"v1/{key}: signed by a key that repo.json does not name")
            return document["signer"]

        key = f"snap/{volume}/{session}.json"
        document = self.signed(key, b"tarext/1 commit", signer)
        same = document["session"] == session and volume in (document["volume"], escaped(document["volume"]))
        need(same, f"v1/{key}: is the commit of another snapshot")
        return document

    def read_tables(self, refs):
        """The `.packs` of the sessions that `refs` names; more of them while a pack is in none, because a session that died
        has its packs in the table of one that adopted them. A table whose session has a commit is held against that."""
        named = {session for _, session, _ in refs}
        found = [os.path.basename(path)[:-6] for path in glob(os.path.join(glob_safe(self.directory), "v1/s/*.packs"))]
        for session in sorted(found, key=lambda session: (session not in named, session)):
            if session not in named and all(pack in self.tables for pack in refs):
                break
            data = self.stored(f"s/{session}.packs")
            for commit in glob(os.path.join(glob_safe(self.directory), "v1/snap/*", session + ".json")):
                said = self.commit(os.path.basename(os.path.dirname(commit)), session)["packs"]
                need(said is not None, f"v1/s/{session}.packs: the commit says that there is none")
                self.side(f"s/{session}.packs", said)
            count, zero = struct.unpack_from("<II", data, 8) if len(data) >= 16 else (0, 1)
            need(data[:8] == b"TSPACKS1" and zero == 0 and len(data) == 16 + 76 * count, f"v1/s/{session}.packs: is damaged")
            before = None
            for at in range(16, len(data), 76):
                who, series, pad, number, *rest = struct.unpack_from("<16sB3sIIIIQ32s", data, at)
                need(series < 2 and pad == bytes(3) and (before is None or before < (who, series, number)),
                     f"v1/s/{session}.packs: its rows are not sorted, or not of this version")
                before = who, series, number
                pack = "pm"[series], ulid_text(who), number
                need(self.tables.setdefault(pack, tuple(rest)) == tuple(rest), f"{pack_name(pack)}: two tables disagree about it")

    def pack(self, pack):
        """Opens a pack once: hash, tables and every frame are checked, the decoded bytes wait in a scratch file."""
        self.touched.add(pack)
        if pack in self.packs:
            return self.packs[pack]
        name = pack_name(pack)
        need(pack in self.tables, f"{name}: no table of packs lists it")
        stored, plain_length, frames, decoded, digest = self.tables[pack]
        data = self.stored(name[3:])
        need(len(data) == stored and sha(data) == digest, f"{name}: is not what its table says")
        plain = self.opened(data, name)
        need(len(plain) == plain_length, f"{name}: the plain pack has another length than its table says")
        rows, descriptor, magic = struct.unpack("<IBI", plain[-9:])
        need(magic == 0x8F92EAB1 and descriptor == 0 and rows == frames + 1, f"{name}: has no seek table")
        toc = len(plain) - 17 - 8 * rows
        need(struct.unpack_from("<II", plain, toc) == (0x184D2A5E, 8 * rows + 9) if toc > 0 else False, f"{name}: has no seek table")
        seek = list(struct.iter_unpack("<II", plain[toc + 8 : -9]))
        end, toc = toc, toc - seek[-1][0]
        need(toc > 0 and struct.unpack_from("<II", plain, toc) == (0x184D2A5D, 39 * frames) and seek[-1] == (39 * frames + 8, 0)
             and end == toc + 8 + 39 * frames, f"{name}: has no table of frames")
        file = tempfile.TemporaryFile(dir=self.scratch)
        self.run(["zstd", "-dcq"], plain, name, stdout=file)
        file.seek(0)
        index, at, place = {}, 0, 0
        for number in range(frames):
            row = plain[toc + 8 + 39 * number :][:39]
            kind, length, size = row[0], int.from_bytes(row[1:4], "little"), int.from_bytes(row[4:7], "little")
            need(kind < 4 and (kind == 3) == (pack[0] == "m") and 1 <= size <= 4 << 20 and seek[number] == (length, size)
                 and frame_shape(plain, at, name) == (length, size), f"{name}: the frame at {at} is not what the tables say")
            need(sha(file.read(size)) == row[7:], f"{name}: the frame at {at} decodes to other bytes than its hash says")
            index[at] = length, size, place
            at, place = at + length, place + size
        need(at == toc and place == decoded and not file.read(1), f"{name}: its frames do not fill it")
        self.packs[pack] = file.fileno(), index, file
        return self.packs[pack]

    def part(self, pack, offset, stored, plain=None, skip=0, take=None):
        """Decoded bytes of a run of whole frames, or of a part of one."""
        fileno, index, _ = self.pack(pack)
        need(offset in index, f"{pack_name(pack)}: no frame begins at {offset}")
        length, size, place = index[offset]
        while length < stored and offset + length in index and plain is None and take is None:
            length, size = length + index[offset + length][0], size + index[offset + length][1]
        need(length == stored and plain in (None, size), f"{pack_name(pack)}: the frame at {offset} has another length")
        take = size if take is None else take
        need(take > 0 and skip + take <= size, f"{pack_name(pack)}: the frame at {offset} is shorter than {skip} + {take}")
        return os.pread(fileno, take, place + skip) if take < 1 << 30 else b"".join(
            os.pread(fileno, min(1 << 26, take - done), place + skip + done) for done in range(0, take, 1 << 26))

    def frame(self, meta):
        """A frame of a file table: (pack, offset, stored, plain, hash)."""
        pack, offset, stored, plain, digest = meta
        data = self.part(pack, offset, stored, plain)
        need(sha(data) == digest, f"{pack_name(pack)}: the frame at {offset} is not the one that is referred to")
        return Cursor(data, f"{pack_name(pack)}, frame at {offset}")


def glob_safe(path):
    return re.sub(r"([*?[])", r"[\1]", path)


def frame_shape(data, at, name):
    """Stored and decoded length of the zstd frame that begins here, from its headers (RFC 8878, 3.1.1)."""
    try:
        magic, flags = struct.unpack_from("<IB", data, at)
        start, at = at, at + 5
        single, window = flags & 32, 0
        need(magic == 0xFD2FB528 and flags & 4 and not flags & 3, f"{name}: no frame with a checksum begins at {start}")
        if not single:
            window = (1 << 10 + (data[at] >> 3)) // 8 * (8 + (data[at] & 7))
            at += 1
        width = [1 if single else 0, 2, 4, 8][flags >> 6]
        size = int.from_bytes(data[at : at + width], "little") + (256 if width == 2 else 0)
        need(width and window <= 8 << 20, f"{name}: the frame at {start} does not state its size, or has too wide a window")
        at, last = at + width, 0
        while not last:
            block = int.from_bytes(data[at : at + 3], "little")
            last, at = block & 1, at + 3 + (1 if block >> 1 & 3 == 1 else block >> 3)
        return at + 4 - start, size
    except (struct.error, IndexError):
        raise Bad(f"{name}: ends within a frame")


# --- The file table (§7) ------------------------------------------------------------------------------------------------
def read_metaref(cursor, sessions):
    index, number, offset, stored, plain = (cursor.varint() for _ in range(5))
    need(index < len(sessions), f"{cursor.name}: a session that is not in its list")
    return ("m", sessions[index], number), offset, stored, plain, cursor.take(32)


def read_extent(cursor, sessions, state):
    """One extent; `state` is the one before, and is changed: [pack, offset, stored, plain, skip, take]."""
    op = cursor.u8()
    need(op < 32 and not (op & 4 and op & 3) and not (op & 16 and (op & 8 or not op & 4)) and (state[0] or op & 1),
         f"{cursor.name}: an extent with op {op} cannot be here")
    if op & 1:
        index, number = cursor.varint(), cursor.varint()
        need(index < len(sessions), f"{cursor.name}: a session that is not in its list")
        state[0:3] = ("p", sessions[index], number), 0, 0
    following = state[4] + state[5]
    if not op & 4:
        state[1] = cursor.varint() if op & 2 else state[1] + state[2]
        state[2:4] = cursor.varint(), cursor.varint()
    state[4:6] = (cursor.varint(), cursor.varint()) if op & 8 else (following, cursor.varint()) if op & 16 else (0, state[3])
    return tuple(state)


def read_row(repository, cursor, sessions, before, state):
    shared, suffix = cursor.varint(), cursor.bytes()
    need(shared <= len(before), f"{cursor.name}: a path that shares more than there is")
    row = {"path": before[:shared] + suffix, "target": None, "device": None, "size": 0, "sha256": None, "segments": None}
    start = cursor.at
    row["kind"], row["flags"] = cursor.u8(), cursor.u8()
    need(row["kind"] < 8 and row["flags"] < 32, f"{cursor.name}: a kind or a flag that is not known")
    row["mode"], row["uid"], row["gid"] = cursor.varint(), cursor.varint(), cursor.varint()
    row["mtime"] = [cursor.zigzag(), cursor.varint()]
    leaf = varint(len(row["path"])) + row["path"] + bytes([row["kind"], row["flags"] & 12]) + cursor.data[start + 2 : cursor.at]
    cursor.varint(), cursor.zigzag(), cursor.varint()  # inode and ctime: of use to the next backup only
    start = cursor.at
    row["xattrs"] = [(cursor.bytes(), cursor.bytes()) for _ in range(cursor.varint())]
    need(row["xattrs"] == sorted(dict(row["xattrs"]).items()), f"{cursor.name}: xattrs out of order")
    if row["kind"] == 1:
        row["size"], row["sha256"] = cursor.varint(), cursor.take(32)
        if row["flags"] & 8:
            row["segments"], end = [], 0
            for _ in range(cursor.varint()):
                gap, length = cursor.varint(), cursor.varint()
                row["segments"].append((end + gap, length))
                end += gap + length
    elif row["kind"] in (2, 3):
        row["target"] = cursor.bytes()
    elif row["kind"] in (5, 6):
        row["device"] = [cursor.varint(), cursor.varint()]
    leaf += cursor.data[start : cursor.at]
    count = cursor.varint()
    if not row["flags"] & 16:
        row["extents"] = [read_extent(cursor, sessions, state) for _ in range(count)]
    else:
        row["extents"] = []
        for meta in [read_metaref(cursor, sessions) for _ in range(count)]:
            inner, inner_state = repository.frame(meta), [None, 0, 0, 0, 0, 0]
            inner_sessions = inner.sessions()
            row["extents"] += [read_extent(inner, inner_sessions, inner_state) for _ in range(inner.varint())]
            inner.end()
    return row, sha(b"\0", leaf)


def read_table(repository, table):
    rows, hashes, blocks, before = [], [], 0, None
    for said in table["root"]:
        session, number = said["pack"].split("/")
        meta = ("m", session, int(number)), said["offset"], said["stored"], said["plain"], bytes.fromhex(said["sha256"])
        root = repository.frame(meta)
        sessions = root.sessions()
        for _ in range(root.varint()):
            first, count, block = root.bytes(), root.varint(), repository.frame(read_metaref(root, sessions))
            block_sessions, path, state = block.sessions(), b"", [None, 0, 0, 0, 0, 0]
            need(block.varint() == count > 0, f"{block.name}: another number of rows than the root says")
            for i in range(count):
                row, leaf = read_row(repository, block, block_sessions, path, state)
                path = row["path"]
                need(i or path == first, f"{block.name}: begins with another path than the root says")
                key = path.replace(b"/", b"\0")
                need(before is None and path == b"" or before is not None and before < key, f"{block.name}: rows out of order")
                before = key
                rows.append(row)
                hashes.append(leaf)
            block.end()
            blocks += 1
        root.end()
    need(len(rows) == table["rows"] and blocks == table["blocks"], "the file table: another number of rows or blocks than the commit says")
    while True:
        hashes = [sha(b"\1", *hashes[i : i + 256]) for i in range(0, len(hashes), 256)]
        if len(hashes) == 1:
            break
    need(hashes[0].hex() == table["merkle"], "the file table: another Merkle root than the commit says")
    return rows


# --- The tar stream (§4, §5) ----------------------------------------------------------------------------------------------
class Stream:
    """A file to read once, made of pieces; tells how long it was and whether its end was seen."""

    def __init__(self, pieces):
        self.pieces, self.rest, self.length = iter(pieces), b"", 0

    def read(self, n):
        if not self.rest:
            self.rest = next(self.pieces, b"")
            self.length += len(self.rest)
        out, self.rest = self.rest[:n], self.rest[n:]
        return out


def raw(text):
    return text.encode("utf-8", "surrogateescape")


def acl_text(value):
    """The numeric text of a `system.posix_acl_*` attribute: a version, then tag u16, permissions u16, id u32."""
    names = {1: "user", 2: "user", 4: "group", 8: "group", 16: "mask", 32: "other"}
    return [f"{names[tag]}:{number if tag in (2, 8) else ''}:" + "".join(c if perm & b else "-" for c, b in (("r", 4), ("w", 2), ("x", 1)))
            for tag, perm, number in struct.iter_unpack("<HHI", value[4:])]


def members(stream, name):
    """Facts about each member of a tar stream, its content hashed; the stream must end with it and zeros."""
    try:
        with tarfile.open(mode="r|", fileobj=stream, encoding="utf-8", errors="surrogateescape") as tar:
            while (info := tar.next()) is not None:
                data = sum(length for _, length in info.sparse) if info.sparse is not None else info.size if info.isreg() else 0
                tar.fileobj.seek(info.offset_data)
                digest, left = hashlib.sha256(), data
                while left:
                    piece = tar.fileobj.read(min(left, 1 << 20))
                    need(piece, f"{name}: ends within the content of {info.name!r}")
                    digest.update(piece)
                    left -= len(piece)
                padding = tar.fileobj.read(-data % 512)
                need(len(padding) == -data % 512 and not any(padding), f"{name}: the content of {info.name!r} is not padded with zeros")
                yield {"name": raw(info.name), "type": info.type, "mode": info.mode, "uid": info.uid, "gid": info.gid,
                       "size": info.size, "link": raw(info.linkname), "device": [info.devmajor, info.devminor],
                       "mtime": Decimal(info.pax_headers.get("mtime", int(info.mtime))), "pax": info.pax_headers,
                       "segments": info.sparse,
                       "sha256": digest.digest(), "end": tar.fileobj.tell()}
    except (tarfile.TarError, ValueError, KeyError) as error:
        raise Bad(f"{name}: tar cannot read it ({error})")


def plain_link(target):
    return target[2:] if target.startswith(b"./") else target


def check_member(repository, row):
    path = row["path"]
    name = "the row " + repr(path)
    stream = Stream(repository.part(*extent) for extent in row["extents"])
    found = list(members(stream, name))
    need(len(found) == 1, f"{name}: its extents hold {len(found)} members")
    fact, kind = found[0], row["kind"]
    need(stream.length == fact["end"], f"{name}: its extents go on after its member")
    same = {"name": fact["name"] == (b"./" + path if path else b"."), "type": fact["type"] == TAR_TYPES[kind],
            "mode": fact["mode"] & 0o7777 == row["mode"] & 0o7777, "uid": fact["uid"] == row["uid"], "gid": fact["gid"] == row["gid"],
            "mtime": fact["mtime"] == row["mtime"][0] + Decimal(row["mtime"][1]) / 10**9}
    if kind == 1:
        same["size"], same["sha256"] = fact["size"] == row["size"], fact["sha256"] == row["sha256"]
        pieces = fact["segments"] and [s for s in fact["segments"] if s[1]]
        same["segments"] = pieces == (row["segments"] and [s for s in row["segments"] if s[1]])
        if pieces is not None:  # what GNU tar needs: it aligns each segment, and takes the size from the end of the map
            need(all(length % 512 == 0 for _, length in pieces[:-1]), f"{name}: GNU tar cannot read its segments, they are not whole blocks")
            need(sum(fact["segments"][-1:][0] if fact["segments"] else [0]) == row["size"], f"{name}: the sparse map ends before the file")
    elif kind == 2:
        same["target"] = fact["link"] == row["target"]
    elif kind == 3:
        same["target"] = plain_link(fact["link"]) == plain_link(row["target"])
    elif kind in (5, 6):
        same["device"] = fact["device"] == row["device"]
    if kind != 3:
        attributes, acls = {}, {}
        for key, value in fact["pax"].items():
            if key.startswith("SCHILY.xattr."):
                attributes[raw(key[13:]).replace(b"%3D", b"=").replace(b"%25", b"%")] = raw(value)
            elif key.startswith("SCHILY.acl."):
                acls[key[11:]] = re.split(r"[,\n]+", value.strip())
        stored = dict(row["xattrs"])
        for key, said in (("access", b"system.posix_acl_access"), ("default", b"system.posix_acl_default")):
            same["acl " + key] = acls.get(key) == (acl_text(stored[said]) if said in stored else None)
            attributes.pop(said, None), stored.pop(said, None)
        same["xattrs"] = attributes == stored
    for field, holds in same.items():
        need(holds, f"{name}: its member has another {field} than the row")
    return fact


def digest_of(fact):
    return sha(repr([fact[k] if k != "pax" else sorted(fact[k].items()) for k in sorted(fact) if k != "end"]).encode())


def check_recipe(repository, recipe, said, expected, name):
    """The recipe's stream must hold the same members as the rows, each once, hard links after what they name."""
    lines = recipe.decode("ascii").splitlines()
    need(len(lines) == said["recipe"]["lines"] and recipe.endswith(b"\n"), f"{name}: another number of lines than the commit says")

    def pieces():
        for line in lines:
            match = re.fullmatch(r"([0-9A-Z]{26})/(\d{6,}) (\d+) (\d+) (?:- -|(\d+) (\d+))", line)
            need(match, f"{name}: a line that cannot be understood: {line}")
            session, number, offset, stored, skip, take = match.groups()
            part = {} if skip is None else {"skip": int(skip), "take": int(take)}
            yield repository.part(("p", session, int(number)), int(offset), int(stored), **part)
        yield bytes(1024)

    stream, seen, end = Stream(pieces()), set(), 0
    for fact in members(stream, name):
        who, end = fact["name"], fact["end"]
        need(expected.get(who) == digest_of(fact), f"{name}: the member {who!r} is in no row, or differs from it")
        need(who not in seen, f"{name}: the member {who!r} comes twice")
        need(fact["type"] != b"1" or b"./" + plain_link(fact["link"]) in seen, f"{name}: {who!r} comes before what it links to")
        seen.add(who)
    need(len(seen) == len(expected), f"{name}: {len(expected) - len(seen)} members of rows are not in its stream")
    while stream.read(1 << 20):
        pass
    need(stream.length == end + 1024, f"{name}: something follows the last member")
    need(said["tar"]["bytes"] in (end, end + 1024), f"{name}: its stream has another length than the commit says")


def read_refs(repository, data, name):
    cursor, packs, before = Cursor(data, name), {}, ""
    need(cursor.take(16) == b"TSPACKSET1" + bytes(6), f"{name}: is no pack set")
    for _ in range(cursor.varint()):
        session = ulid_text(cursor.take(16))
        need(session > before, f"{name}: groups out of order")
        before = session
        for series in "pm":
            number = -1
            for _ in range(cursor.varint()):
                number += cursor.varint() + 1
                packs[series, session, number] = cursor.varint()
    cursor.end()
    return packs


def read(repository, snapshot):
    volume, session = snapshot.rsplit("/", 1)
    numbers = [int(p.rpartition(".")[2]) for p in os.listdir(os.path.join(repository.directory, "v1")) if re.fullmatch(r"repo\.json\.\d+", p)]
    key = f"repo.json.{max(numbers)}" if numbers else "repo.json"
    repository.parameters = repository.signed(key, b"tarext/1 repo", lambda document: document["root"])
    need(repository.parameters["min_reader"] <= 1, f"v1/{key}: asks for a newer reader")
    said = repository.commit(volume, session)
    base = f"snap/{volume}/{session}"
    need(not os.path.exists(os.path.join(repository.directory, "v1", base + ".void")), f"v1/{base}.void: the snapshot does not count")
    refs = read_refs(repository, repository.side(base + ".refs", said["refs"]), f"v1/{base}.refs")
    recipe = repository.opened(repository.side(base + ".recipe", said["recipe"]), f"v1/{base}.recipe")
    recipe = repository.run(["zstd", "-dcq"], recipe, f"v1/{base}.recipe")
    if said["packs"] is not None:
        repository.side(f"s/{session}.packs", said["packs"])
    repository.read_tables(refs)
    rows = read_table(repository, said["table"])
    expected, paths = {}, {}
    for row in rows:
        parent = row["path"].rpartition(b"/")[0]
        need(row["path"] == b"" or paths.get(parent) == 0, f"the row {row['path']!r}: its directory has no row")
        paths[row["path"]] = row["kind"]
        if row["extents"]:
            fact = check_member(repository, row)
            expected[fact["name"]] = digest_of(fact)
        else:
            need(row["kind"] == 7 or row["flags"] & 4, f"the row {row['path']!r}: has no extents")
            need(row["sha256"] in (None, bytes(32)), f"the row {row['path']!r}: is unreadable and has a hash")
    counts = [sum(row["kind"] == k for row in rows) for k in range(8)]
    names = ["directories", "files", "symlinks", "hardlinks", "specials", "sockets"]
    found = dict(zip(names, counts[:4] + [sum(counts[4:7]), counts[7]]))
    found.update({n: sum(bool(row["flags"] & bit) for row in rows) for n, bit in (("unstable", 2), ("unreadable", 4))})
    for what, count in found.items():
        need(said["entries"][what] == count, f"v1/{base}.json: says {said['entries'][what]} {what}, and there are {count}")
    need(repository.touched == set(refs), f"v1/{base}.refs: is not the set of packs that the snapshot touches")
    check_recipe(repository, recipe, said, expected, f"v1/{base}.recipe")
    need(repository.touched == set(refs), f"v1/{base}.recipe: touches packs that .refs does not name")
    for pack, live in refs.items():
        # A frame that several members share counts for each of them: live may exceed what the pack decodes to.
        need(live >= 1, f"v1/{base}.refs: {pack_name(pack)} cannot have {live} live bytes")
    return rows


def printable(row):
    def text(data):
        return None if data is None else data.hex()
    return {"path": text(row["path"]), "kind": KINDS[row["kind"]], "flags": row["flags"], "mode": row["mode"], "uid": row["uid"],
            "gid": row["gid"], "mtime": row["mtime"], "size": row["size"], "sha256": text(row["sha256"]), "target": text(row["target"]),
            "device": row["device"], "segments": row["segments"], "xattrs": {text(n): text(v) for n, v in row["xattrs"]}}


def main():
    arguments = argparse.ArgumentParser(description="Verifies and lists one snapshot by FORMAT.md alone.")
    arguments.add_argument("repository")
    arguments.add_argument("snapshot", help="VOLUME/SESSION, the volume as objects spell it")
    arguments.add_argument("--identity")
    given = arguments.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        try:
            rows = read(Repository(given.repository, given.identity, scratch), given.snapshot)
        except Bad as bad:
            sys.exit(f"reader.py: {bad}")
        except (KeyError, TypeError, ValueError, struct.error, binascii.Error) as error:
            sys.exit(f"reader.py: {given.snapshot}: an object has not the form that FORMAT.md gives it ({error!r})")
    for row in rows:
        print(json.dumps(printable(row)))


if __name__ == "__main__":
    main()
