"""Which features the online store holds, which are missing, and what is read while the store is filled or replaced."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from feast.feature_view import FeatureViewState

from assets.flights.features import ARRIVAL_DELAY_V1
from feature_repo.state import DomainStore
from feature_repo.store import current
from pipelines.settings import Settings
from serving.errors import FeatureStoreUnavailable
from serving.predict.features import OnlineFeatures
from tests.serving.conftest import ENTITIES, NOW, NULL_FEATURE, Fill, Served, feature_value

SERVICE = ARRIVAL_DELAY_V1


def test_every_feature_has_its_value_and_the_time_at_which_it_became_known(served: Served) -> None:
    reading = OnlineFeatures(served.settings, SERVICE).read([ENTITIES])[0]
    midnight = NOW.replace(hour=0, minute=0)
    assert reading.missing == ()
    assert {name: value.value for name, value in reading.features.items()} == {
        name: feature_value(name, midnight) for name in reading.features
    }
    assert {value.timestamp for value in reading.features.values()} == {midnight.isoformat()}


def test_a_null_in_the_store_is_not_missing(served: Served) -> None:
    reading = OnlineFeatures(served.settings, SERVICE).read([ENTITIES])[0]
    assert reading.features[NULL_FEATURE].value is None


def test_a_feature_that_the_store_does_not_hold_is_missing_with_its_entity(served: Served) -> None:
    reading = OnlineFeatures(served.settings, SERVICE).read([ENTITIES | {"tailnum": "N99999"}])[0]
    assert {m.feature.partition("__")[0] for m in reading.missing} == {"aircraft_history"}
    assert {m.reason for m in reading.missing} == {"unknown entity"}
    assert reading.missing[0].entity == {"tailnum": "N99999"}
    assert all(reading.values()[m.feature] is None for m in reading.missing)


def test_the_reason_of_a_missing_feature_names_a_key_that_was_not_given(served: Served) -> None:
    reading = OnlineFeatures(served.settings, SERVICE).read([ENTITIES | {"tailnum": None}])[0]
    assert {m.reason for m in reading.missing} == {"no tailnum given"}


def test_a_row_reads_the_same_alone_and_among_others(served: Served) -> None:
    features = OnlineFeatures(served.settings, SERVICE)
    rows = [ENTITIES, ENTITIES | {"origin": "LGA"}, ENTITIES | {"tailnum": None}, ENTITIES]
    assert features.read(rows) == [features.read([row])[0] for row in rows]


def test_a_store_that_was_not_filled_is_unavailable(make_settings: Callable[[], Settings]) -> None:
    with pytest.raises(FeatureStoreUnavailable, match="features/flights/online"):
        OnlineFeatures(make_settings(), SERVICE).read([ENTITIES])


def test_a_rebuilt_store_is_opened_again(make_settings: Callable[[], Settings], fill: Fill) -> None:
    settings = make_settings()
    fill(settings, NOW)
    features = OnlineFeatures(settings, SERVICE)
    before = features.read([ENTITIES])[0]
    earlier = NOW - timedelta(days=8)
    assert fill(settings, earlier).rebuilt
    after = features.read([ENTITIES])[0]
    name = "origin_weather__temp"
    assert after.features[name].timestamp < before.features[name].timestamp
    assert after.features[name].value == feature_value(name, earlier)


def test_a_store_is_unavailable_while_its_file_is_away(make_settings: Callable[[], Settings], fill: Fill) -> None:
    settings = make_settings()
    fill(settings, NOW)
    features = OnlineFeatures(settings, SERVICE)
    before = features.read([ENTITIES])
    [file] = settings.root.glob("features/flights/*/online.db")
    file.rename(file.with_suffix(".away"))
    with pytest.raises(FeatureStoreUnavailable):
        features.read([ENTITIES])
    file.unlink(missing_ok=True)
    file.with_suffix(".away").rename(file)
    assert features.read([ENTITIES]) == before


@pytest.mark.parametrize("days", [(1, 2, 3), (-1, -2, -3)], ids=["further", "anew"])
def test_features_are_read_while_the_store_is_filled(
    make_settings: Callable[[], Settings], fill: Fill, days: tuple[int, ...]
) -> None:
    settings = make_settings()
    fill(settings, NOW)
    features = OnlineFeatures(settings, SERVICE)
    with ThreadPoolExecutor(1) as filler:
        filling = filler.submit(lambda: [fill(settings, NOW + timedelta(days=day)).rebuilt for day in days])
        while not filling.done():
            assert features.read([ENTITIES])[0].missing == ()
        assert set(filling.result()) == {days[0] < 0}
    known_at = {value.timestamp for value in features.read([ENTITIES])[0].features.values()}
    assert known_at == {(NOW + timedelta(days=days[-1])).replace(hour=0, minute=0).isoformat()}


def test_a_store_that_is_filled_anew_stays_as_it_was_if_that_is_killed(
    make_settings: Callable[[], Settings], fill: Fill, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = make_settings()
    fill(settings, NOW)
    before = OnlineFeatures(settings, SERVICE).read([ENTITIES])
    earlier = NOW - timedelta(days=2)
    with monkeypatch.context() as killed:

        def kill(*_: object, **__: object) -> None:
            raise KeyboardInterrupt

        killed.setattr("feature_repo.online_rows.write_batches", kill)
        with pytest.raises(KeyboardInterrupt):
            fill(settings, earlier)
    assert OnlineFeatures(settings, SERVICE).read([ENTITIES]) == before
    assert fill(settings, earlier).rebuilt
    assert OnlineFeatures(settings, SERVICE).read([ENTITIES]) != before


def test_features_are_read_after_a_filling_was_killed(make_settings: Callable[[], Settings], fill: Fill) -> None:
    settings = make_settings()
    fill(settings, NOW)
    store = current(DomainStore(settings, "flights")).store
    view = store.get_feature_view("flights.origin_weather")
    view.state = FeatureViewState.MATERIALIZING
    store.registry.apply_feature_view(view, store.project)
    assert OnlineFeatures(settings, SERVICE).read([ENTITIES])[0].missing == ()
