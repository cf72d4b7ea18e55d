"""What several test modules share: the real embedded model, and a small real adapter for it."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from drawn_adapters import EMBEDDED, write_drawn_adapter, write_drawn_lineage, write_small_run
from families import write_byte_tokenizer
from prerequisites import missing
from tuning_room.errors import MissingPrerequisiteError
from tuning_room.models import resolve
from tuning_room.models.embeddings import packaged_folder


@pytest.fixture(scope="session")
def embedded_model() -> Path:
    """The folder of the embedded model, converted into the user's cache on first use."""
    try:
        return resolve(EMBEDDED)
    except MissingPrerequisiteError as error:
        missing(str(error))


@pytest.fixture(scope="session")
def embedding_model() -> Path:
    """The folder of the packaged sentence-embedding model."""
    try:
        return packaged_folder()
    except MissingPrerequisiteError as error:
        missing(str(error))


@pytest.fixture(scope="session")
def onednn() -> None:
    """Ask for a build of torch with oneDNN."""
    import torch

    if not torch.backends.mkldnn.is_available():
        missing("this build of torch has no oneDNN")


@pytest.fixture(scope="module")
def one_thread() -> Iterator[None]:
    """Compute on one thread: more threads than free cores make small steps many times slower."""
    import torch

    count = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(count)


Gpu = Callable[[], AbstractContextManager[str]]


@pytest.fixture(params=["pretended", pytest.param("real", marks=pytest.mark.gpu)])
def gpu(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Gpu:
    """Have the training loop and the engine compute on a GPU while `with gpu() as device:` lasts.

    Under `-m gpu` it is a real one; else it is pretended, and shows that no tensor is left on the CPU.
    """
    import torch

    @contextmanager
    def real() -> Iterator[str]:
        with monkeypatch.context() as patched:
            patched.setenv("TUNING_ROOM_DEVICE", "cuda")
            yield "cuda"

    if request.param == "real":
        return real if torch.cuda.is_available() else missing("torch finds no GPU")
    from pretended_gpu import pretended_gpu

    return lambda: pretended_gpu(monkeypatch)


@pytest.fixture(scope="session")
def small_run(embedded_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run folder with an adapter that was drawn, not trained: rank 4, B not zero, so that answers differ."""
    return write_small_run(embedded_model, tmp_path_factory.mktemp("run"), "small", seed=3)


@pytest.fixture(scope="session")
def drawn_adapter(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An adapter for the tiny model that was drawn, not trained."""
    folder = tmp_path_factory.mktemp("tiny-adapter")
    write_drawn_adapter(tiny_model, folder)
    write_drawn_lineage(tiny_model, folder, "drawn", str(tiny_model))
    return folder


class PeftAnswers(NamedTuple):
    """A question and its greedy answers, of at most `tokens` tokens, by transformers and PEFT alone."""

    question: list[dict[str, str]]
    tokens: int
    base: str
    adapter: str


@pytest.fixture(scope="session")
def peft_answers(embedded_model: Path, small_run: Path) -> PeftAnswers:
    """What the base model and the small run's adapter answer, found without any code of this project."""
    import torch
    from peft import PeftModel
    from transformers import AutoModelForCausalLM, AutoTokenizer

    question = [{"role": "user", "content": "What is the capital of France?"}]
    tokenizer: Any = AutoTokenizer.from_pretrained(embedded_model)
    plain: Any = AutoModelForCausalLM.from_pretrained(embedded_model, dtype=torch.float32)
    prompt = tokenizer.apply_chat_template(question, add_generation_prompt=True, return_tensors="pt", return_dict=True)

    def answer(model: Any) -> str:
        with torch.inference_mode():
            ids = model.generate(**prompt, max_new_tokens=16, do_sample=False)
        return str(tokenizer.decode(ids[0, prompt["input_ids"].shape[1] :], skip_special_tokens=True)).strip()

    base = answer(plain)
    return PeftAnswers(question, 16, base, answer(PeftModel.from_pretrained(plain, small_run / "adapter")))


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a Llama of two small random layers whose tokens are bytes: every mechanism, and no knowledge."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    folder = tmp_path_factory.mktemp("tiny-llama")
    tokenizer = write_byte_tokenizer(folder)
    torch.manual_seed(5)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=512,
        # The usual 0.02 would make all replies alike.
        initializer_range=0.4,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    LlamaForCausalLM(config).save_pretrained(folder)
    return folder
