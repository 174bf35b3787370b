"""The journey language, in four passes with a type each.

    bytes → located tree   `reading`, `tree`: YAML, with the place of every word
          → checked model  `model`: pydantic, one model per thing that can be written
          → resolved flow  `resolve`, `check`: names and expressions, nesting undone
          → compiled flow  `compile`: what the engine runs (services.journey.core.flow)

`workspace.load_workspace` takes a whole workspace through all of them, `compile.compile_journey`
one stored version. Problems are collected, never raised one at a time (`problems`).
"""
