"""LC-Rec: packed histories against single prompts, gradients, the search against exhaustive scoring, folders, and that it learns."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from next_item_case import random_train
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from recbench.core import BadConfig, BadRequest, Catalogue, Queries
from recbench.nn.codes import ItemCodes
from recbench.testing import LightContext, interactions, latest_is_best, queries
from recbench_models.lc_rec import PLUGIN
from recbench_models.lc_rec.config import LanguageModelSettings, LCRecConfig
from recbench_models.lc_rec.data import Examples, LCRecTraining
from recbench_models.lc_rec.network import CodeLanguageModel, new_language_model
from recbench_models.lc_rec.prompts import N_WORDINGS, Prompts, read_prompts
from recbench_models.lc_rec.recommender import LCRec

N_ITEMS, N_LEVELS, SIZE = 50, 3, 5
N_CODES = N_LEVELS * SIZE
N_WORDS = 12
THEMES = ("anchor rope sail deck", "dough oven flour yeast", "comet orbit star moon", "spade soil seed rake", "pedal chain wheel brake")


def codes_of_all() -> ItemCodes:
    rows = np.random.default_rng(0).permutation(SIZE**N_LEVELS)[:N_ITEMS]
    return ItemCodes(np.stack(np.unravel_index(rows, (SIZE,) * N_LEVELS), 1).astype(np.int32), (SIZE,) * N_LEVELS)


def network_of(*, is_tied: bool = True, trains_words: bool = True) -> CodeLanguageModel:
    """A language model whose weights are large enough that all of them matter."""
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=N_WORDS,
        hidden_size=16,
        intermediate_size=24,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        initializer_range=0.3,
        tie_word_embeddings=is_tied,
        pad_token_id=None,
        bos_token_id=None,
        eos_token_id=None,
    )
    return CodeLanguageModel(LlamaForCausalLM(config), N_CODES, trains_words=trains_words).eval()


def prompts_of(n_named: int = N_ITEMS) -> Prompts:
    words = list(range(N_CODES, N_CODES + N_WORDS))
    pairs = tuple(([words[1 + w], words[2]], [words[3 + w]]) for w in range(N_WORDINGS))
    names = [[words[6 + row % 5], words[6 + row // 5 % 6]] if row < n_named else [] for row in range(N_ITEMS)]
    sequence = tuple([words[0], *words[2 : 4 + w]] for w in range(N_WORDINGS))
    return Prompts(sequence, pairs, pairs, names, end=[words[-1]])


def examples_of(lists: list[list[int]], n_named: int = N_ITEMS, **values: Any) -> Examples:
    config = LCRecConfig.model_validate({"max_history": 4, "batch_tokens": 100} | values)
    return Examples(config, interactions(lists, N_ITEMS), codes_of_all().tokens(0), prompts_of(n_named))


def log_likelihood(network: CodeLanguageModel, context: list[int], response: list[int], n_codes: int = N_CODES) -> float:
    """Of a response after a context, token by token, by the library's own forward pass in a loop."""
    table, total = torch.cat([network.table.codes.weight, network.table.words.weight]), 0.0
    for place, token in enumerate(response):
        read = table[torch.tensor([context + response[:place]])]
        state = network.model.base_model(inputs_embeds=read, use_cache=False).last_hidden_state[0, -1]
        if token < n_codes:
            among = torch.log_softmax(network.model.get_output_embeddings().weight @ state, 0)[token]
        else:
            words = network.table.words.weight if network.written_words is None else network.written_words
            among = torch.log_softmax(words @ state, 0)[token - n_codes]
        total += float(among)
    return total


@pytest.mark.parametrize("is_tied", [True, False])
@torch.no_grad()
def test_a_packed_history_has_the_loss_of_all_its_prefixes(is_tied: bool) -> None:
    network = network_of(is_tied=is_tied).double()
    # One user is longer than a sequence, and every sequence of a batch but the longest is padded.
    lists = [[3, 4, 5], [7, 8], list(range(10, 19)), [9]]
    examples = examples_of(lists, tasks={"item_to_code": False, "code_to_item": False})
    windows, code_NL = examples.windows, codes_of_all().tokens(0).tolist()
    numbers = N_WORDINGS * np.arange(len(windows)) + 1
    loss, n_targets = LCRecTraining(network, examples)(numbers)
    by_hand, n_pairs = 0.0, 0
    for start, length, first in zip(windows.start, windows.length, windows.first_trained, strict=True):
        for place in range(first, length):
            history = [token for item in windows.item[start : start + place + 1] for token in code_NL[item]]
            by_hand -= log_likelihood(network, prompts_of().sequence[1] + history, code_NL[windows.item[start + place + 1]])
            n_pairs += 1
    assert n_targets == n_pairs == sum(len(row) - 1 for row in lists)
    # The library's norms compute in float32.
    assert loss.item() == pytest.approx(by_hand, rel=1e-6)


@torch.no_grad()
def test_names_and_codes_are_written_after_each_other() -> None:
    network, prompts, code_NL = network_of().double(), prompts_of(), codes_of_all().tokens(0).tolist()
    examples = examples_of([[1, 2]], n_named=N_ITEMS - 1)
    assert examples.n_possible == 1 + 2 * (N_ITEMS - 1), "an item without a name is in no task about names"
    for place, wording in ((1 + 7, 2), (1 + N_ITEMS - 1 + 7, 0)):
        loss, n_targets = LCRecTraining(network, examples)(np.array([N_WORDINGS * place + wording]))
        name, code = prompts.names[7], code_NL[7]
        is_to_code = place < N_ITEMS
        before, between = (prompts.to_code if is_to_code else prompts.to_item)[wording]
        context, response = (before + name + between, code) if is_to_code else (before + code + between, name + prompts.end)
        assert n_targets == 1
        assert loss.item() == pytest.approx(-log_likelihood(network, context, response), rel=1e-6)


def test_only_what_is_written_gets_a_gradient() -> None:
    network, examples = network_of(), examples_of([[1, 2, 3], [4, 5]])
    states: list[torch.Tensor] = []
    network.model.base_model.norm.register_forward_hook(lambda *call: call[2].retain_grad() or states.append(call[2]))
    numbers = N_WORDINGS * np.arange(2 + 2 * N_ITEMS)[::9]
    token_BT, is_written_BT, _ = examples.tensors(numbers, torch.device("cpu"))
    network.loss(token_BT, is_written_BT).backward()
    gradient = states[0].grad
    assert gradient is not None
    torch.testing.assert_close(gradient.abs().sum(2) > 0, is_written_BT[:, 1:])
    for row, number in enumerate(numbers):
        tokens, is_written, _ = examples.sequence(int(number))
        assert not is_written[0], "the first token follows nothing"
        assert is_written_BT[row].sum() == sum(is_written)
        assert len(tokens) > sum(is_written) > 0


def test_a_pass_holds_every_sequence_once_in_some_wording_and_no_batch_is_too_large() -> None:
    rng = np.random.default_rng(3)
    lists = [rng.integers(0, N_ITEMS, rng.integers(1, 12)).tolist() for _ in range(30)]
    examples = examples_of(lists, n_named=20)
    n_sequences, wordings = len(examples.windows) + 2 * 20, set()
    for epoch in range(2):
        batches = examples.batches(np.random.default_rng(epoch))
        told = np.concatenate(batches)
        assert sorted(told // N_WORDINGS) == list(range(n_sequences))
        wordings |= {tuple(np.sort(told) % N_WORDINGS)}
        for batch in batches:
            n_tokens = [len(examples.sequence(int(number))[0]) for number in batch]
            assert sum(n_tokens) <= 100
    assert len(wordings) == 2, "wordings are drawn anew for every pass"
    assert examples.n_tokens == sum(len(examples.sequence(N_WORDINGS * number)[0]) for number in range(n_sequences))
    assert examples.n_possible == sum(len(row) - 1 for row in lists) + 2 * 20


@pytest.mark.parametrize("is_tied", [True, False])
def test_vectors_of_words_are_trained_where_that_is_asked_for(is_tied: bool) -> None:
    for trains_words in (True, False):
        network, examples = network_of(is_tied=is_tied, trains_words=trains_words), examples_of([[1, 2, 3]])
        token_BT, is_written_BT, _ = examples.tensors(N_WORDINGS * np.arange(1 + 2 * N_ITEMS), torch.device("cpu"))
        network.loss(token_BT, is_written_BT).backward()
        words = [network.table.words.weight, *([] if is_tied else [network.written_words])]
        assert [weight.grad is not None for weight in words] == [trains_words] * len(words)
        assert network.table.codes.weight.grad is not None


def model_of(network: CodeLanguageModel, **values: Any) -> LCRec:
    config = LCRecConfig.model_validate({"max_history": 4, "n_beams": N_ITEMS} | values)
    model = LCRec(config)
    model._use(codes_of_all(), prompts_of().sequence[0], network)
    return model


def scores_of_all(network: CodeLanguageModel, history: list[int]) -> np.ndarray[Any, Any]:
    """Of every item, by reading its whole code behind the prompt."""
    code_NL = torch.from_numpy(codes_of_all().tokens(0)).long()
    context_M = torch.tensor([*prompts_of().sequence[0], *code_NL[history].flatten().tolist()])
    state_NTD = network.states(torch.cat([context_M.expand(N_ITEMS, -1), code_NL], 1))[:, len(context_M) - 1 : -1]
    log_NLC = torch.log_softmax(state_NTD @ network.table.codes.weight.T, 2)
    return log_NLC.gather(2, code_NL[..., None]).squeeze(2).sum(1).numpy()


@torch.no_grad()
def test_a_search_as_wide_as_the_catalogue_gives_the_order_of_exhaustive_scores() -> None:
    network = network_of()
    asked = queries([[3, 4, 5], [], list(range(20, 30))])
    found = model_of(network).generate(asked, N_ITEMS)
    for row in range(len(asked)):
        history = asked.histories[row].tolist()
        scores = scores_of_all(network, history[-4:])
        for view in asked.views:
            expected = [item for item in np.argsort(-scores, kind="stable") if view == "keep" or item not in history]
            listed = found.items[asked.views.index(view), row]
            assert listed[listed >= 0].tolist() == expected
            np.testing.assert_allclose(found.scores[asked.views.index(view), row, : len(expected)], scores[expected], atol=2e-5)


def test_batches_padding_and_what_precedes_the_window_change_nothing() -> None:
    model = model_of(network_of(), n_beams=10)
    train = random_train(N_ITEMS)
    asked = queries([[], *(train[user].tolist() for user in range(24))])
    whole = model.generate(asked, 10)
    for rows in (np.array([0]), np.array([5]), np.arange(7), np.resize(np.arange(len(asked)), 256)):
        part = model.generate(asked.take(rows), 10)
        np.testing.assert_array_equal(part.items, whole.items[:, rows])
        np.testing.assert_allclose(part.scores, whole.scores[:, rows], atol=1e-5)
    newest = Queries(asked.histories.tail(4), asked.user, asked.user_ids, ("keep",))
    np.testing.assert_array_equal(model.generate(newest, 10).items[0], whole.items[0])


def titles() -> list[str]:
    """Words of the item's theme in an order of its own."""
    rng = np.random.default_rng(0)
    return [" ".join(rng.choice(THEMES[item % len(THEMES)].split(), 6)) + f" {item}" for item in range(N_ITEMS)]


def save_language_model(folder: Path) -> Path:
    """A tiny Llama with a tokenizer of the titles' words, as the transformers library saves real ones."""
    words = ["<unk>", "<s>", "</s>", *sorted({word for title in titles() for word in title.split()})]
    tokenizer = Tokenizer(models.WordLevel({word: row for row, word in enumerate(words)}, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, unk_token="<unk>", bos_token="<s>", eos_token="</s>").save_pretrained(folder)
    sizes = {"hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 3, "num_attention_heads": 2, "num_key_value_heads": 1}
    torch.manual_seed(3)
    LlamaForCausalLM(LlamaConfig(vocab_size=len(words), tie_word_embeddings=True, **sizes)).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def language_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Its folder."""
    return save_language_model(tmp_path_factory.mktemp("llama"))


def context_of(lists: list[list[int]], folder: Path) -> LightContext:
    return LightContext(interactions(lists, N_ITEMS), folder, {"title": titles()}, judge=latest_is_best())


def test_tokens_of_codes_and_words_are_apart_and_a_model_keeps_its_words(language_model: Path, tmp_path: Path) -> None:
    config = PLUGIN.resolve("smoke", None, {"language_model.name": str(language_model), "tasks.names.max_tokens": 4})
    prompts = read_prompts(context_of([[1]], tmp_path), config, N_CODES)
    tokens = [*prompts.sequence, *(part for pair in (*prompts.to_code, *prompts.to_item) for part in pair), *prompts.names, prompts.end]
    assert min(min(part) for part in tokens) >= N_CODES > codes_of_all().tokens(0).max()
    assert {len(name) for name in prompts.names} == {4}
    assert {part[0] for part in (*prompts.sequence, *(pair[0] for pair in prompts.to_code))} == {N_CODES + 1}, "texts begin with <s>"
    model = new_language_model(config.language_model)
    before = model.get_input_embeddings().weight.detach().clone()
    network = CodeLanguageModel(model, N_CODES, trains_words=True)
    read = network.table(torch.arange(N_CODES + len(before)))
    torch.testing.assert_close(read[N_CODES:], before, rtol=0, atol=0)
    assert len(torch.unique(read[:N_CODES], dim=0)) == N_CODES


def test_the_first_layers_and_random_weights(language_model: Path) -> None:
    whole = new_language_model(LanguageModelSettings(name=str(language_model)))
    cut = new_language_model(LanguageModelSettings(name=str(language_model), layers=2))
    torch.manual_seed(0)
    drawn = new_language_model(LanguageModelSettings(name=str(language_model), layers=2, weights="random"))
    assert (len(whole.base_model.layers), len(cut.base_model.layers)) == (3, 2)
    expected = {name: weight for name, weight in whole.state_dict().items() if "layers.2." not in name}
    assert cut.state_dict().keys() == drawn.state_dict().keys() == expected.keys()
    for name, weight in expected.items():
        torch.testing.assert_close(cut.state_dict()[name], weight, rtol=0, atol=0)
        assert weight.ndim == 1 or not torch.equal(drawn.state_dict()[name], weight)
    with pytest.raises(BadConfig, match=r"layers=4, and .* has 3\. Use --set language_model\.layers=3"):
        new_language_model(LanguageModelSettings(name=str(language_model), layers=4))


def trained(lists: list[list[int]], folder: Path, **overrides: Any) -> LCRec:
    values = {"training.max_epochs": 1000, "training.max_steps": 60, "training.validate_every_epochs": 1000}
    model = PLUGIN.build(PLUGIN.resolve("smoke", None, values | overrides), Catalogue(N_ITEMS, len(lists)))
    report = model.fit(context_of(lists, folder))
    assert report.artefacts["codes"].name == "codes.parquet"
    assert isinstance(model, LCRec)
    return model


@pytest.mark.parametrize("is_tied", [True, False])
def test_a_saved_model_answers_alike_without_its_language_model(is_tied: bool, tmp_path: Path) -> None:
    model = model_of(network_of(is_tied=is_tied), n_beams=10)
    (tmp_path / "model").mkdir()
    model.save(tmp_path / "model")
    other = LCRec(model.config)
    other.load(tmp_path / "model")
    asked = queries([[1, 2], [7], []])
    np.testing.assert_array_equal(other.generate(asked, 9).scores, model.generate(asked, 9).scores)
    other.to("meta")
    assert {weight.device.type for weight in other.network.parameters()} == {"meta"}


def test_a_folder_is_trained_and_saved(language_model: Path, tmp_path: Path) -> None:
    steps = {"training.max_steps": 2, "language_model.name": str(language_model), "language_model.layers": 1}
    model = trained([[1, 2, 3], [4, 5, 6]], tmp_path, **steps)
    (tmp_path / "model").mkdir()
    model.save(tmp_path / "model")
    other = LCRec(model.config)
    other.load(tmp_path / "model")
    asked = queries([[1, 2], [7]])
    np.testing.assert_array_equal(other.generate(asked, 9).scores, model.generate(asked, 9).scores)
    assert model.config.named_files() == (language_model,)


@pytest.mark.uncounted
def test_remembers_which_item_follows(tmp_path: Path) -> None:
    # No item belongs to two users, so that every item says which one follows.
    lists = np.random.default_rng(0).permutation(N_ITEMS)[:40].reshape(-1, 5).tolist()
    model = trained(lists, tmp_path, **{"training.max_steps": 100, "training.learning_rate": 1e-2, "tasks.code_to_item": False})
    asked = queries([row[:place] for row in lists for place in range(1, 5)])
    targets = np.array([row[place] for row in lists for place in range(1, 5)])
    assert (model.generate(asked, 10).view("keep")[:, 0] == targets).mean() > 0.7


def test_presets_of_the_paper_have_its_settings() -> None:
    config = PLUGIN.resolve("paper")
    assert (config.codes.quantizer, config.codes.n_levels, config.codes.codebook_size) == ("rqvae", 4, 256)
    rqvae = config.codes.rqvae
    assert (rqvae.hidden, rqvae.latent, rqvae.epochs, rqvae.batch_size) == ((2048, 1024, 512, 256, 128, 64), 32, 10_000, 1024)
    assert (config.last_level.epsilon, config.last_level.iterations) == (0.003, 50)
    training = config.training
    assert (training.learning_rate, training.weight_decay, training.schedule, training.warmup_share, training.max_epochs) == (
        5e-5, 0.01, "cosine", 0.01, 4,
    )  # fmt: skip
    assert (config.max_history, config.n_beams, config.language_model.layers, config.language_model.trains_words) == (20, 20, None, True)


def test_a_catalogue_without_names_is_refused(tmp_path: Path) -> None:
    context = LightContext(interactions([[1, 2]], N_ITEMS), tmp_path, {"brand": titles()}, judge=latest_is_best())
    with pytest.raises(BadRequest, match=r"tasks\.names\.fields"):
        PLUGIN.build(PLUGIN.resolve("smoke", None, {"text.fields": ["brand"]}), Catalogue(N_ITEMS, 1)).fit(context)


def test_names_are_not_asked_for_where_no_task_reads_them(tmp_path: Path) -> None:
    context = LightContext(interactions([[1, 2]], N_ITEMS), tmp_path, {"brand": titles()}, judge=latest_is_best())
    config = PLUGIN.resolve("smoke", None, {"tasks.item_to_code": False, "tasks.code_to_item": False})
    prompts = read_prompts(context, config, N_CODES)
    assert prompts.names == [[]] * N_ITEMS
    assert Examples(config, context.train, codes_of_all().tokens(0), prompts).n_possible == 1


def test_a_model_of_no_known_form_is_refused() -> None:
    with pytest.raises(BadConfig, match="'smollm' is none of smollm2, scratch"):
        PLUGIN.resolve("smoke", None, {"language_model.name": "smollm"})


def test_asking_before_training_says_so() -> None:
    with pytest.raises(RuntimeError, match="fit or load"):
        PLUGIN.build(PLUGIN.resolve("smoke"), Catalogue(N_ITEMS, 1)).generate(queries([[1]]), 5)
