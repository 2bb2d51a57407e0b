"""What an MLflow server has."""


def only_run(uri):
    from mlflow import MlflowClient

    client = MlflowClient(uri)
    experiment = client.get_experiment_by_name("tiny")
    (run,) = client.search_runs([experiment.experiment_id])
    return client, run


def points(client, run):
    return {
        key: [(point.step, point.timestamp, point.value) for point in history]
        for key in run.data.metrics
        if (history := client.get_metric_history(run.info.run_id, key))
    }
