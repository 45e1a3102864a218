"""Tiny models compute faster on one thread than on several that wait for each other."""

import torch

torch.set_num_threads(1)
# For a kind of device that is not there, `torch.manual_seed` keeps a traceback, which took a tenth of these tests' time.
for device in (torch.cuda, torch.xpu, torch.mtia):
    if not device.is_available():
        device.manual_seed_all = lambda seed: None
