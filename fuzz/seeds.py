#!/usr/bin/env python3
"""Writes small valid files in every format that the fuzz targets read, as seed inputs for their corpora.

    pip install pillow pyarrow zstandard; apt-get install sox libsox-fmt-all
    python fuzz/seeds.py fuzz/corpus
"""
import gzip
import io
import json
import struct
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

import pyarrow as pa
import pyarrow.feather as feather
import pyarrow.parquet as pq
import zstandard
from PIL import Image

REPOSITORY = Path(__file__).resolve().parent.parent


def table():
    return pa.table({"t": ["a", "b, c", None], "n": [1.5, None, 3.0], "b": [b"\x00\x01", b"", None], "l": [[1.0, 2.0], [], None]})


def parquet(compression):
    out = io.BytesIO()
    pq.write_table(table(), out, compression=compression)
    return out.getvalue()


def arrow(compression):
    out = io.BytesIO()
    words = pa.array(["red", None, "red"]).dictionary_encode()
    nested = pa.array([{"x": [1, None]}, None, {"x": []}])
    rows = table().append_column("w", words).append_column("s", nested)
    feather.write_feather(rows, out, compression=compression)
    return out.getvalue()


def idx(shape):
    n = 1
    for size in shape:
        n *= size
    return b"\0\0\x08" + bytes([len(shape)]) + b"".join(struct.pack(">I", size) for size in shape) + bytes(range(256))[:n]


COCO = {"info": {}, "images": [{"id": 1, "file_name": "a.jpg", "height": 4, "width": 4}],
        "annotations": [{"id": 2, "image_id": 1, "caption": "a dog"}], "categories": [{"id": 1, "name": "dog"}]}


def sources():
    texts = [b'a,b,"c ""d"""\n1,x,"two\nlines"\n2,,\n', b"a\tb\n1\tx y\n", b'{"a": 1, "b": [1, 2], "c": null}\n{"a": "x"}\n', parquet("snappy"),
             json.dumps(COCO).encode(), idx([2, 3, 3]), gzip.compress(idx([4]))]
    for kind, content in enumerate(texts):
        yield bytes([kind]) + content
    yield bytes([3]) + parquet("zstd")
    yield bytes([4]) + json.dumps([{"a": 1, "b": "x"}]).encode()
    yield bytes([2]) + b'{"columns": ["a"], "data": [[1]]}\n'
    for compression in ("uncompressed", "lz4", "zstd"):
        yield bytes([7]) + arrow(compression)
    yield b"\x00" + "a;b\n1,5;ä\n".encode("utf-16")
    yield bytes([4]) + b'{"a": 1}\n{"a":\n [{"b": "}"}]}'
    yield bytes([8]) + zstandard.compress(texts[0])
    yield bytes([9]) + archive({"folder/t.csv": texts[0], "__MACOSX/._t.csv": b"x"})
    yield bytes([10]) + (REPOSITORY / "crates/mbm-data/tests/golden/openpyxl.xlsx").read_bytes()
    for content in (b"a|b\n1\n2|3|4\n", b"a\tb\n1\t2\n", b'[{"a": 1}]', archive({"t.json": texts[2]}), gzip.compress(texts[0])):
        yield bytes([11]) + content
    rows = '<row r="1"><c r="A1" t="s"><v>0</v></c><c t="str"><v>b&amp;_x000D_</v></c></row><row><c s="1"><v>45657.5</v></c><c t="b"><v>1</v></c></row>'
    texts = '<sst uniqueCount="2"><si><t>a</t></si><si><r><t>b</t></r><rPh><t>c</t></rPh></si></sst>'
    formats = '<s><numFmt numFmtId="164" formatCode="[$-409]d/m/yy;@"/><cellXfs><xf/><xf numFmtId="164"/></cellXfs></s>'
    yield bytes([12]) + f"<w><sheetData>{rows}</sheetData></w>\0{texts}\0{formats}".encode()


def archive(files):
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return out.getvalue()


def images():
    for mode, name in [("RGB", "png"), ("L", "png"), ("RGB", "jpeg"), ("P", "gif"), ("RGB", "bmp"), ("RGB", "ppm"), ("RGB", "tiff"), ("RGB", "webp")]:
        out = io.BytesIO()
        image = Image.linear_gradient("L").resize((9, 7)).convert(mode)
        image.save(out, name)
        yield out.getvalue()


def sounds():
    with tempfile.TemporaryDirectory() as folder:
        for options, name in [("-r 8000 -b 16", "a.wav"), ("-r 44100 -b 24 -c 2", "b.wav"), ("-r 22050", "c.mp3"), ("-r 16000", "d.flac"),
                              ("-r 16000", "e.ogg"), ("-r 8000", "f.aiff"), ("-r 8000 -e mu-law", "g.wav"), ("-r 8000 -e ms-adpcm", "h.wav")]:
            path = Path(folder) / name
            subprocess.run(["sox", "-n", *options.split(), str(path), "synth", "0.05", "sine", "440"], check=True)
            yield path.read_bytes()


def configs():
    for path in sorted(REPOSITORY.glob("examples/*/*.yaml")):
        yield path.read_bytes()
    yield b"[trainer]\nepochs = 3\n[[input_features]]\nname = 'a'\ntype = \"number\"\n"
    yield b'{"input_features": [{"name": "a", "type": "text"}], "output_features": []}'
    yield b"a: &x [1, {b: 'c'}]\nd: *x\ne: |\n  lines\n  of text\n"


def weights():
    header = json.dumps({"a.weight": {"dtype": "F32", "shape": [2, 2], "data_offsets": [0, 16]}}).encode()
    yield b"\x00" + struct.pack("<Q", len(header)) + header + bytes(16)
    golden = REPOSITORY / "crates/mbm-weights/tests/golden"
    yield b"\x01" + (golden / "zip.pt").read_bytes()
    yield b"\x02" + (golden / "legacy.pth").read_bytes()
    yield b"\x02" + (golden / "evil-legacy.pth").read_bytes()
    shards = [{"paths": ["group1-shard1of1.bin"], "weights": [{"name": "a/kernel", "shape": [2, 2], "dtype": "float32"}]}]
    yield b"\x04" + json.dumps({"format": "layers-model", "weightsManifest": shards}).encode()
    yield b"\x05the 0.1 0.2\na 0.3 0.4\n"


def implied():
    yield json.dumps({"model_type": "bert", "hidden_size": 8, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 16,
                      "vocab_size": 30, "max_position_embeddings": 16}).encode()
    yield json.dumps({"model_type": "vit", "hidden_size": 8, "num_hidden_layers": 2, "num_attention_heads": 2, "image_size": 32, "patch_size": 8,
                      "crop_size": {"height": 32, "width": 32}, "image_mean": [0.5] * 3, "image_std": [0.5] * 3, "do_resize": True}).encode()
    yield json.dumps({"max_seq_length": 128, "do_lower_case": False}).encode()


def bodies():
    yield b"\x00" + json.dumps({"rows": [{"photo": "aGk=", "n": 1.5, "t": "x"}]}).encode()
    yield b"\x00" + json.dumps({"columns": ["a", "b"], "index": [0], "data": [[1, "x"]]}).encode()
    form = b'--edge\r\ncontent-disposition: form-data; name="%s"%s\r\n\r\n%s\r\n'
    files = form % (b"dataset", b"", b'[{"photo": "p.png"}]') + form % (b"photo", b'; filename="p.png"', b"\x89PNG") + b"--edge--\r\n"
    yield b"\x01" + files
    yield b"\x02dataset=%5B%7B%22a%22%3A+1%7D%5D"
    yield b"\x03" + files.replace(b"--edge", b'----a b')


def filters():
    yield b"split = 'train' AND (n >= 2010 OR t LIKE '%dog%') AND \"a b\" IS NOT NULL"
    yield b"NOT (t IN ('a dog', 'It''s') OR n NOT IN (1, -2.5, 3e2)) AND t NOT LIKE '_b%a_'"
    yield b"n = 1 OR n <> 2 OR n < 3 AND n <= 4 OR t != 'x' OR t > '_%'"


def tokenizers():
    """The first byte selects the kind: a whole file, a model, or a part of a tokenizer with one of four models."""
    word_piece = {"type": "WordPiece", "unk_token": "u", "continuing_subword_prefix": "##", "max_input_chars_per_word": 100,
                  "vocab": {"u": 0, "a": 1, "##a": 2, "b": 3}}
    token = {"id": 4, "content": "<s>", "single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
    yield b"\x00" + json.dumps({"version": "1.0", "added_tokens": [token], "model": word_piece}).encode()
    yield b"\x04" + json.dumps(word_piece).encode()
    bert = {"type": "BertNormalizer", "clean_text": True, "handle_chinese_chars": True, "strip_accents": None, "lowercase": True}
    replace = {"type": "Replace", "pattern": {"Regex": "\\s+"}, "content": " "}
    parts = [{"type": "Sequence", "normalizers": [bert, {"type": "NFKC"}, replace, {"type": "Prepend", "prepend": "_"}]},
             {"type": "Sequence", "pretokenizers": [{"type": "BertPreTokenizer"}, {"type": "Metaspace", "replacement": "_", "prepend_scheme": "always"},
                                                    {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True, "use_regex": True}]},
             {"type": "TemplateProcessing", "single": [{"SpecialToken": {"id": "u", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}],
              "pair": [{"Sequence": {"id": "A", "type_id": 0}}], "special_tokens": {"u": {"id": "u", "ids": [0], "tokens": ["u"]}}},
             {"type": "WordPiece", "prefix": "##", "cleanup": True}, [token]]
    for part, content in enumerate(parts):
        for model in range(4):
            yield bytes([(part + 2) * 4 + model]) + json.dumps(content).encode()


def cells():
    yield "$1,200.50\n(3)\n12 %\n1.234,5 €\n1 200\n1'000\nNA\n-5e3\n".encode()
    yield b"2024-12-31T10:00:00Z\n31/12/2024\nJun 12th, 1998 3:05 PM\n12-Jun-98\nMon Jun 12 10:00:00 UTC 1998\n1998-06\n1735603200\n"
    yield b"Action & Adventure, Comedy\nComedy\na|b\n['x', \"it's\"]\n{a,b}\nNone\n-\n"
    yield b"yes\nNo\n?\n01234\n1 2 3\n[[1, 2], [3, 4]]\n"


def forms():
    yield b"\x02\x40" + b'{"p": "a.png"}' + b"\xff" + b"p\xfea.png\xfe\x89PNG"
    yield b"\x01\x03a=1&b=%7B%7D&"
    yield b"\x00\x00" + list(bodies())[2][1:]


SEEDS = {"source": sources, "media": lambda: [*images(), *sounds()], "config": configs, "weights": weights, "implied": implied, "body": bodies,
         "sound": sounds, "filter": filters, "tokenizer": tokenizers, "form": forms, "cell": cells}

if __name__ == "__main__":
    for target, seeds in SEEDS.items():
        folder = Path(sys.argv[1]) / target
        folder.mkdir(parents=True, exist_ok=True)
        for number, seed in enumerate(seeds()):
            (folder / f"seed-{number:02}").write_bytes(seed)
        print(target, len(list(folder.iterdir())), sum(path.stat().st_size for path in folder.iterdir()))
