"""Packed weights against the plain product, on real layers; test_local.py has the LoRA layers."""

import pytest
import torch

from tuning_room.engines.layers import LEAST_WEIGHTS, pack


@pytest.mark.usefixtures("onednn")
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("rows", [1, 7, 64, 130])
def test_the_product_is_that_of_plain_weights(rows: int, bias: bool) -> None:
    torch.manual_seed(rows)
    model = torch.nn.Sequential(torch.nn.Linear(512, 640, bias=bias), torch.nn.Linear(640, 8))
    hidden = torch.randn(2, rows, 512)
    with torch.no_grad():
        plain, small = model[0](hidden), model[1].forward
        pack(model)
        assert model[1].forward == small, "small weights stay as they are"
        assert "forward" in vars(model[0]) and model[0].weight.numel() >= LEAST_WEIGHTS
        torch.testing.assert_close(model[0](hidden), plain, rtol=1e-5, atol=1e-5)


def test_other_types_stay_as_they_are() -> None:
    model = torch.nn.Sequential(torch.nn.Linear(512, 640).to(torch.bfloat16))
    pack(model)
    assert "forward" not in vars(model[0])
