#!/usr/bin/env python3
"""Generates the files in golden/ that only PyTorch can write.      needs torch

The tensors: `weight` 0, 1, .. 5 as [2, 3]; `half` 0.5, -2 as f16; `turned` the transpose of `weight`, so that it is not contiguous;
`count` the integer 7.
"""
import os
import pathlib
import pickle

import torch

folder = pathlib.Path(__file__).parent / "golden"
weight = torch.arange(6, dtype=torch.float32).reshape(2, 3)
tensors = {"weight": weight, "half": torch.tensor([0.5, -2.0], dtype=torch.float16), "turned": weight.T, "count": torch.tensor(7)}
torch.save({"state_dict": tensors, "epoch": 3}, folder / "zip.pt")
torch.save(tensors, folder / "legacy.pth", _use_new_zipfile_serialization=False)


class Evil:
    """A pickle that would run a command when unpickled."""

    def __reduce__(self):
        return os.system, ("touch ran-by-a-pickle",)


torch.save({"weight": weight, "extra": Evil()}, folder / "evil.pt")
torch.save({"weight": weight, "extra": Evil()}, folder / "evil-legacy.pth", _use_new_zipfile_serialization=False)
(folder / "evil-plain.bin").write_bytes(pickle.dumps(Evil(), protocol=2))
