"""Tiny models compute faster on one thread than on several that wait for each other."""

import torch

torch.set_num_threads(1)
for device in (torch.cuda, torch.xpu, torch.mtia):
    if (
        not device.is_available()
    ):  # `torch.manual_seed` would keep a traceback for each of them, a tenth of these tests' time
        device.manual_seed_all = lambda seed: None
