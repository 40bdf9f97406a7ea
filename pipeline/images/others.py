"""What a file is that is none of the formats we take, so that the refusal names the true cause."""

from __future__ import annotations

import re
import struct

from pipeline.errors import InvalidImage, UnsupportedImage

TAKEN = "send JPEG, PNG, WebP, BMP, GIF or TIFF"

#: Files that hold no photograph, by what they start with, in lower case.
DOCUMENTS = {
    b"%pdf": "a PDF",
    b"<svg": "an SVG drawing",
    b"<?xml": "an SVG drawing or another XML file",
    b"%!ps": "a PostScript file",
    b"<!doctype html": "a web page",
    b"<html": "a web page",
}
#: Images and films that we do not take: what they start with, and what they are.
UNSUPPORTED = {
    b"8BPS": "PSD",
    b"\x00\x00\x01\x00": "ICO",
    b"\x00\x00\x02\x00\x01": "a cursor (CUR)",
    b"icns": "ICNS",
    b"\x00\x00\x00\x0cjP  ": "JPEG 2000",
    b"\xff\x4f\xff\x51": "JPEG 2000",
    b"\x00\x00\x00\x0cJXL ": "JPEG XL",
    b"\xff\x0a": "JPEG XL",
    b"\xff\xf7\xff": "JPEG-LS",
    b"\xff\xd8": "such a JPEG",
    b"II\xbc": "JPEG XR",
    b"BPG\xfb": "BPG",
    b"FLIF": "FLIF",
    b"qoif": "QOI",
    b"v/1\x01": "OpenEXR",
    b"#?RADIANCE": "Radiance HDR",
    b"#?RGBE": "Radiance HDR",
    b"DDS ": "DDS",
    b"gimp xcf": "a GIMP file (XCF)",
    b"AT&TFORM": "DjVu",
    b"SIMPLE  =": "FITS",
    b"\x59\xa6\x6a\x95": "a Sun raster",
    b"\x01\xda": "SGI",
    b"/* XPM */": "XPM",
    b"\xd7\xcd\xc6\x9a": "WMF",
    b"\xc5\xd0\xd3\xc6": "EPS",
    b"P7\n": "PAM",
    b"PF\n": "PFM",
    b"Pf\n": "PFM",
    b"IIRO": "ORF raw",
    b"IIRS": "ORF raw",
    b"MMOR": "ORF raw",
    b"IIU\x00": "RW2 raw",
    b"FUJIFILMCCD-RAW": "RAF raw",
    b"FOVb": "X3F raw",
    b"\x1aE\xdf\xa3": "a video (Matroska or WebM)",
    b"\x00\x00\x01\xba": "a video (MPEG)",
    b"\x00\x00\x01\xb3": "a video (MPEG)",
    b"\x00\x00\x00\x01\x67": "a video (H.264)",
    b"\x30\x26\xb2\x75\x8e\x66\xcf\x11": "a video (WMV)",
    b"FLV\x01": "a video (FLV)",
    b"OggS": "a video or sound (Ogg)",
}
#: Kinds of RIFF containers.
RIFF = {b"AVI ": "a video (AVI)", b"WAVE": "a sound (WAV)"}
#: What the first box of a QuickTime film may be, where no `ftyp` comes before it.
QUICKTIME = {b"moov", b"mdat", b"wide", b"free", b"skip", b"pnot"}
#: PBM, PGM and PPM: a number, white space, and the width or a comment.
_NETPBM = re.compile(rb"P[1-6]\s+[0-9#]")
_TARGA_END = b"TRUEVISION-XFILE.\0"


def refusal(data: bytes) -> InvalidImage | UnsupportedImage:
    """The error that says what this file is, as far as can be told from its bytes."""
    start = data[:256].lstrip().lower()
    for magic, what in DOCUMENTS.items():
        if start.startswith(magic):
            return InvalidImage(f"this is {what}, not a photograph")
    if kind := _unsupported(data):
        return UnsupportedImage(f"{kind} is not supported; {TAKEN}")
    return InvalidImage("this is not an image of a format that we know")


def _unsupported(data: bytes) -> str:
    if data[4:8] == b"ftyp":
        brand = data[8:12].decode("latin-1").strip()
        brand = brand.upper() if brand.isalnum() and brand.isascii() else "ISO media"
        return f"{brand} (HEIC, AVIF, raw or video)"
    for magic, kind in UNSUPPORTED.items():
        if data.startswith(magic) and len(data) > len(magic):
            return kind
    if data[:4] == b"RIFF":
        return RIFF.get(data[8:12], "")
    if data[4:8] in QUICKTIME:
        return "a video (QuickTime)"
    if _NETPBM.match(data):
        return "PBM, PGM or PPM"
    if data[128:132] == b"DICM":
        return "DICOM"
    if data[:1] == b"\x47" and data[188:189] == data[376:377] == b"\x47":
        return "a video (MPEG transport stream)"
    return "TGA" if data.endswith(_TARGA_END) or _is_targa(data) else ""


def _is_targa(data: bytes) -> bool:
    """Whether the header is one of the first version of TGA, which has nothing to know it by."""
    if len(data) < 18:
        return False
    _, palette, kind, first, colours, size, _, _, width, height, bits, flags = struct.unpack_from(
        "<BBBHHBHHHHBB", data
    )
    plain = palette == 0 and kind in (2, 3, 10, 11) and first == colours == size == 0
    indexed = palette == 1 and kind in (1, 9) and size in (15, 16, 24, 32) and 0 < colours <= 256
    depth = bits in (8, 15, 16, 24, 32) and flags & 0xC0 == 0
    return (plain or indexed) and depth and width > 0 and height > 0
