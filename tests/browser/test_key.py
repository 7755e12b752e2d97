"""A service that asks for an API key, and one that goes away."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from farpose_serving.access import hashed, new_key
from tests.browser.conftest import Visit
from tests.service import Service

KEY = new_key()


@pytest.fixture
def locked(tmp_path: Path, repository: Path) -> Iterator[Service]:
    (tmp_path / "keys").write_text(f"visitor:{hashed(KEY)}\n")
    settings = tmp_path / "settings.toml"
    settings.write_text(f'api_keys_file = "{tmp_path / "keys"}"\n')
    arguments = ("--repository", str(repository), "--settings", str(settings))
    with Service(Path(sys.executable).with_name("farpose"), tmp_path, arguments) as service:
        yield service


@pytest.fixture
def page(visit: Visit, locked: Service) -> Iterator[Page]:
    """The page of the service that asks for a key; it is closed before the service is."""
    visit.page.goto(locked.url)
    yield visit.page
    visit.page.close()


def enter(page: Page, key: str) -> None:
    field = page.get_by_label("This service asks for an API key")
    expect(field).to_be_focused()
    field.fill(key)
    page.keyboard.press("Enter")


def test_a_key_is_asked_for_and_opens_everything(page: Page, visit: Visit, bus: Path, clip: Path):
    expect(page.locator("#service")).to_have_text("API key needed")
    enter(page, "wrong")
    expect(page.locator("#service")).to_have_text("API key needed")
    enter(page, KEY)
    expect(page.locator("#service")).to_have_text("Ready")
    expect(page.get_by_label("This service asks for an API key")).to_be_hidden()
    assert [error for error in visit.errors if "401" not in error] == []
    visit.errors.clear()

    visit.show(bus)
    expect(visit.rows).not_to_have_count(0)
    visit.show(clip)
    expect(page.locator("#rate")).to_be_visible()
    command = page.locator("#curl").inner_text()
    assert '-H "X-API-Key: $FARPOSE_API_KEY"' in command
    assert KEY not in page.content()
    assert [url for url in visit.requests if KEY in url] == []


def test_a_service_that_goes_away_is_noticed(page: Page, visit: Visit, locked: Service, clip: Path):
    enter(page, KEY)
    expect(page.locator("#service")).to_have_text("Ready")
    visit.show(clip)
    expect(page.locator("#rate")).to_be_visible()
    locked.process.terminate()
    locked.process.wait(20)
    expect(page.get_by_role("alert")).to_contain_text("The connection has ended")
    expect(page.locator("#service")).to_have_text("No answer")
    page.close()  # it would ask again and again
    unlike = [e for e in visit.errors if not re.search("status of 401|CONNECTION_REFUSED", e)]
    assert unlike == []
    visit.errors.clear()
