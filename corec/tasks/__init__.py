"""What becomes of an alert: its life, and the tasks that it starts; a process of its own.

::

    broker -> …:alertas -> life -> table alertas -> …:avisos -> groups -> pool -> a function
              …:acuses  ->  |      corec_avisos       ^           |
                            └──── one transaction ────┘           └-> …:in:<canal>,
                                                                      …:tareas_fallidas

Nothing here is waited for by a tick. Each arrow is safe to be cut by a kill:

* ``life`` decides purely; what it decided is in PostgreSQL with the position in the stream that it
  came from, in one transaction (``store``). A kill before the COMMIT: decided again, the same.
* Notices leave ``corec_avisos`` (written in that transaction) for the stream ``…:avisos`` under
  ids that are their numbers: written twice, Redis refuses the second.
* A task's notice is acknowledged in one script with what follows from it (its answers, or its
  letter of failure), which does nothing when it was acknowledged before: a task may run twice, its
  answers are applied once (``streams``).
* Letters of failure are copied into ``tareas_fallidas`` by their ids, again and again if need be.
"""
