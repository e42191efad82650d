"""What a student meets in the lessons: exercises that are graded, and guesses that are checked.

Strategy: `answers` says whether an answer is what was expected, `remarks` what a wrong one looks like,
`grading` remembers attempts and makes a card of it all. `guess` is the widget in which a student predicts
before the stream runs, `scales` how far each of its handles goes. Nothing here knows a lesson: what is right
is worked out there, from recordings and from what the embedded server knows of itself.
"""
