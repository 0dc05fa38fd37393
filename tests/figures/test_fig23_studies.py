import numpy as np
import pytest

from figures.test_fig23 import SMALL, small_digits
from fimlib import information, predictive
from fimlib.figures import (
    data,
    fig23,
    fig23_studies,
    network,
    records,
    scores,
    seed_run,
)
from fimlib.figures.agreement import spearman
from fimlib.figures.units import stream

SETTINGS = fig23_studies.Settings(
    mc_seeds=(1,), mc_samples=20, mc_eval=10, levels=(5, 10, 20), jackknifed=10,
    epochs=(1, 2, 4), eval_sizes=(1, 5, 40, 100), pairwise_eval=10,
)  # fmt: skip


def patched(patch):
    patch.setattr(data, "load", small_digits)
    patch.setattr(seed_run, "_EVAL_CHUNK", 16)
    patch.setattr(fig23_studies, "_BLOCK", 10)


def run(folder, seeds=(0, 1), settings=SETTINGS):
    options = {"work": folder / "work", "progress": False, **SMALL}
    return fig23_studies.run(
        "embedded", seeds, folder / "out", 40, settings=settings, **options
    )


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    folder = tmp_path_factory.mktemp("studies")
    with pytest.MonkeyPatch.context() as patch:
        patched(patch)
        run(folder)
        options = {"work": folder / "work", "progress": False, **SMALL}
        fig23.run("embedded", (0, 1), folder / "out", 40, **options)
    return folder


@pytest.fixture
def study(finished):
    def read(name):
        return records.read_record(finished / "out" / f"fig23-embedded-{name}.csv")

    return read


@pytest.fixture
def main(finished):
    return records.read_record(finished / "out" / "fig23-embedded.csv")


def layer(finished, seed=0):
    return records.read_npz(next(finished.glob(f"work/*/{seed}/last-layer.npz")))


def test_every_study_says_which_run_it_belongs_to(study, main):
    for name in fig23_studies.STUDIES:
        about = study(name).run
        assert about["protocol"] == main.run["protocol"]
        assert about["data"] == main.run["data"]
        assert "fig23-studies --data embedded --seeds 0..1" in about["command"]
        assert about["settings"]["mc_samples"] == 20
        assert about["seeds"] == ([1] if name in ("bias", "noise") else [0, 1])


def test_the_stopped_network_is_the_main_runs(study, main):
    found = study("epochs")
    for seed in (0, 1):
        one = found.where("seed", seed).where("stopped", 1)
        own = main.where("seed", seed)
        assert len(one) == 1
        quartile = np.quantile(own["eig_log_det"], 0.25)
        assert one["eig_log_det_q25"][0] == pytest.approx(quartile, rel=1e-9)
        rank = spearman(own["bald"], own["eig_log_det"])
        assert one["spearman_log_det"][0] == pytest.approx(rank, abs=1e-3)
        model = main.run["models"][seed]
        for name in ("prior_precision", "trace_fisher_train"):
            assert one[name][0] == pytest.approx(model[name], rel=1e-9)
    assert set(found["epochs"].tolist()) >= {1, 2, 4}


def test_jepig_grows_with_its_evaluation_set(study, finished):
    one = study("jepig").where("seed", 0)
    assert one["eval_size"].tolist() == [1, 5, 40]  # 100 are not there
    assert np.all(np.diff(one["ratio_median"]) > 0)
    found = layer(finished)
    roots, post = scores.roots_of(found, "pool"), scores.posterior_of(found)
    few = scores.roots_of(found, "evaluation")[:5]
    values = information.jepig(roots, few, post) / information.eig(roots, post)
    assert one["ratio_median"][1] == pytest.approx(np.median(values))


def test_pairwise_epig_is_below_its_bound(study, finished):
    one = study("pairwise")
    assert np.all(one["largest_ratio"] <= 1 + 1e-12)
    assert np.all(one["mean_pairwise"] <= one["mean_upper"])
    found = layer(finished)
    roots, post = scores.roots_of(found, "pool"), scores.posterior_of(found)
    few = scores.roots_of(found, "evaluation")[:10]
    single = [information.jepig(roots, few[[e]], post).numpy() for e in range(10)]
    assert one["mean_pairwise"][0] == pytest.approx(np.mean(single))


def test_estimates_use_disjoint_samples_and_all_of_them(study, finished):
    one = study("bias")
    count = {
        level: int(np.sum((one["samples"] == level) & (one["score"] == "bald")))
        for level in SETTINGS.levels
    }
    assert count == {5: 4, 10: 2, 20: 1}
    net = network.from_arrays(
        records.read_npz(next(finished.glob("work/*/1/train.npz")))
    )
    protocol = fig23.protocol_for("embedded", **SMALL, eval_size=40)
    parts = fig23.split(small_digits(), 1, protocol)
    masks = network.draw_masks(20, stream(1, "study masks"))
    images = network.prepare(small_digits().images[parts["pool"]])
    samples = network.mc_log_probs(net, images, masks).double().log_softmax(-1)
    for block in (0, 1):
        row = (one["score"] == "bald") & (one["samples"] == 10)
        row &= one["block"] == block
        values = predictive.bald(samples[:, 10 * block : 10 * block + 10]).numpy()
        assert one["mean"][row] == pytest.approx(values.mean(), rel=1e-6)


def test_the_other_half_shares_no_sample(study):
    found = study("noise").where("samples", 10).where("score", "epig")
    # Two halves: each is the other's reference, and the next one as well.
    assert found["half_spearman"] == pytest.approx(found["next_spearman"])
    assert found["half_spearman"][0] == pytest.approx(found["half_spearman"][1])
    assert np.all(study("noise")["half_spearman"] < 0.999)


def test_a_killed_study_resumes_to_the_same_bytes(finished, tmp_path, monkeypatch):
    patched(monkeypatch)
    write, left = records.write_npz, [19]

    class Killed(BaseException):
        pass

    def dies(path, **arrays):
        left[0] -= 1
        if left[0] == 0:
            raise Killed
        return write(path, **arrays)

    monkeypatch.setattr(records, "write_npz", dies)
    with pytest.raises(Killed):
        run(tmp_path)
    run(tmp_path)
    for name in fig23_studies.STUDIES:
        file = f"fig23-embedded-{name}.csv"
        again = (tmp_path / "out" / file).read_bytes()
        assert again == (finished / "out" / file).read_bytes()


def test_levels_that_fit_no_half_are_refused(tmp_path):
    wrong = fig23_studies.Settings(mc_samples=20, levels=(4, 20))
    with pytest.raises(ValueError, match=r"levels must divide .* 10, got 4"):
        run(tmp_path, settings=wrong)
