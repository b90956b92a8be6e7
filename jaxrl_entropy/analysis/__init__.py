"""Numbers from the files of training runs; never loads JAX.

    from jaxrl_entropy.analysis import dynamics, law, studies

    study = studies.load("runs/headline")
    label, members = study.baseline
    fitted = law.fit_runs(law.of_runs(members))
    print(label, fitted.a, fitted.b, fitted.ceiling, fitted.r2)
    print(dynamics.probe(members).correlation)

`runs` and `studies` read files; `samples` reads sampled responses. `law` fits
R = -a exp(H) + b and `forms` its rivals, `dynamics` compares the covariance
with the entropy change, `interventions` compares a method with the baseline's
law, `stats` estimates means over seeds. `compact` makes copies of runs that are
small enough to commit.
"""
