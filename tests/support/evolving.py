"""How Hypothesis draws an ``evolucion``."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

METHODS = st.one_of(
    st.fixed_dictionaries({"metodo": st.just("torneo"), "tamano": st.integers(1, 5)}),
    st.fixed_dictionaries({"metodo": st.just("truncamiento"), "tamano": st.floats(0.01, 1.0)}),
    st.fixed_dictionaries({"metodo": st.just("truncamiento"), "tamano": st.integers(1, 30)}),
    st.just({"metodo": "ruleta"}),
    st.just({"metodo": "ruleta", "tamano": 4}),
)
SCOPES: Any = st.one_of(
    st.just({"alcance": "enjambre"}),
    st.just({}),
    st.fixed_dictionaries(
        {
            "migracion": st.fixed_dictionaries(
                {
                    "cada": st.integers(1, 2),
                    "cuantos": st.integers(1, 9),
                    "topologia": st.sampled_from(
                        ["anillo", "completa", "azar", "ring", "full", "random", "aleatoria"]
                    ),
                }
            )
        }
    ),
)
RULES = st.builds(
    lambda *parts: {key: value for part in parts for key, value in part.items()},
    st.fixed_dictionaries(
        {
            "cada": st.integers(1, 3),
            "elite": st.one_of(st.integers(0, 9), st.floats(0.01, 0.99)),
            "mutacion": st.floats(0.0, 1.0),
            "estado": st.sampled_from(["inicial", "heredado"]),
        }
    ),
    st.one_of(
        st.fixed_dictionaries(
            {
                "cruce": st.sampled_from(["uniforme", "mezcla", "un_punto", "ninguno"]),
                "prob_cruce": st.floats(0.0, 1.0),
            }
        ),
        st.fixed_dictionaries({"cruce": st.floats(0.0, 1.0)}),
    ),
    METHODS,
    SCOPES,
)
