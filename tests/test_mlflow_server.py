"""MLflow's own scoring server, where the whole of mlflow is installed: its dialect, spoken to the real thing."""

import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.datasets import load_breast_cancer
from sklearn.ensemble import GradientBoostingClassifier

import whybox as wb
from whybox.models import HTTPModel, MLflow

pytestmark = pytest.mark.skipif(
    find_spec("mlflow") is None or find_spec("uvicorn") is None, reason="needs the whole of mlflow: pip install mlflow"
)


@pytest.fixture(scope="module")
def classifier():
    x, y = load_breast_cancer(return_X_y=True, as_frame=True)
    x = x.iloc[:, :6].astype(float)
    return GradientBoostingClassifier(n_estimators=20, random_state=0).fit(x, y), x


@pytest.fixture(scope="module")
def address(classifier, tmp_path_factory):
    import mlflow

    model, x = classifier
    folder = tmp_path_factory.mktemp("mlflow")
    mlflow.sklearn.save_model(
        model, str(folder / "model"), pyfunc_predict_fn="predict_proba", input_example=x[:2], serialization_format="cloudpickle"
    )
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "mlflow", "models", "serve", "-m", str(folder / "model"), "--env-manager", "local", "-p", str(port)]
    path = str(Path(sys.executable).parent) + os.pathsep + os.environ.get("PATH", "")
    with (folder / "log").open("w") as log:
        server = subprocess.Popen(
            command, stdout=log, stderr=log, env=os.environ | {"PATH": path, "MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "true"}
        )
        try:
            for _ in range(240):
                try:
                    urllib.request.urlopen(f"http://127.0.0.1:{port}/ping", timeout=1).close()
                    break
                except (urllib.error.URLError, ConnectionError, TimeoutError):
                    assert server.poll() is None, (folder / "log").read_text()
                    time.sleep(0.5)
            yield f"http://127.0.0.1:{port}/invocations"
        finally:
            server.terminate()
            server.wait(30)


@pytest.mark.parametrize("kind", ["DataFrame", "array"])
def test_a_served_model_is_explained_as_the_model_itself(address, classifier, kind):
    model, x = classifier
    own = wb.KernelSHAP(model, background=x[:10]).explain(x[100:103], seed=0)
    names = tuple(x.columns) if kind == "array" else None
    rows, background = (x[100:103], x[:10]) if kind == "DataFrame" else (x[100:103].to_numpy(), x[:10].to_numpy())
    served = HTTPModel(address, MLflow(columns=names), rows_per_request=500)
    e = wb.KernelSHAP(served, background=background).explain(rows, seed=0)
    np.testing.assert_allclose(e.values, own.values, atol=1e-12)
    assert served.spent.requests < 20


def test_what_the_server_says_is_told(address, classifier):
    _, x = classifier
    few: pd.DataFrame = x.iloc[:5, :3]
    with pytest.raises(wb.errors.WhyboxError, match="schema"):
        wb.KernelSHAP(HTTPModel(address, MLflow()), background=few).explain(few[:1])
