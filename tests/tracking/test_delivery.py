"""An address of MLflow as it may be shown."""

import pytest

from t2t.tracking.delivery import public_uri


@pytest.mark.parametrize("user", ["", "u@", "u:p@", "u:p@ss@", "u:p/ss@", "u:@/p@s/s@", "u@v.w:p@"])
@pytest.mark.parametrize("scheme", ["http", "postgresql+psycopg2"])
@pytest.mark.parametrize("place", ["host", "host:5000/path", "[::1]:5000"])
def test_an_address_is_shown_without_its_password(scheme, user, place):
    assert public_uri(f"{scheme}://{user}{place}") == f"{scheme}://{place}"


@pytest.mark.parametrize("uri", ["sqlite:////home/a:b@c/mlflow.db", "https://host/a@b", "folder"])
def test_an_at_sign_in_a_path_is_no_secret(uri):
    assert public_uri(uri) == uri
