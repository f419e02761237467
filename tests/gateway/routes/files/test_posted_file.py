"""The address of a file that a message has: what it costs to look at one."""

import tracemalloc

import pytest
from gateway.api.posted_file import PostedFile
from gateway.api.problems import FileUrlRefused

pytestmark = pytest.mark.requirement("CH-24")


def test_a_data_url_without_an_end_of_its_parameters_costs_what_it_is() -> None:
    url = "data:" + ";" * 1_000_000
    tracemalloc.start()
    try:
        with pytest.raises(FileUrlRefused):
            PostedFile(url).content()
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert most < 10 * len(url), "each semicolon was remembered: 4 MB were 640 MB of the gateway"
