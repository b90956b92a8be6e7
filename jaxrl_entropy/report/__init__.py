"""HTML reports made from what `analysis` computes; never loads JAX.

    from jaxrl_entropy.report import writer

    writer.write_report("runs/headline")

`writer` builds all files of a report. Each module of `sections` builds one
section, `claims` checks the paper's statements, `answers` and `overview` speak
of several studies together, `page` renders HTML and `plots` draws.
"""
