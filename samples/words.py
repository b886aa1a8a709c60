"""What a story frame is, and the words that every frame shares: heroes, friends, openings, closings."""

from dataclasses import dataclass

# A sentence is a template with slots such as {name}, or a tuple of such templates, of which one is drawn.
Sentence = str | tuple[str, ...]


@dataclass(frozen=True)
class Frame:
    """A plot: what happens to a hero and a thing, and how it may end.

    Slots: {name} {kind} {he} {He} {him} {his} {His} the hero; {friend} {friend_kind} the friend; {thing}
    {color} {place} what it is about and where; {parent} Mom, Dad, Grandma or Grandpa. No slot follows "a"
    directly but {color}, whose words all begin with a consonant; {a_thing} has an article of its own. The
    sentences below that all frames share know {mood} and {omen} too.
    """

    key: str
    things: tuple[str, ...]  # four or more that fit every sentence of the frame
    places: tuple[str, ...]  # "park", "garden": follow "the"
    summaries: tuple[str, ...]  # the topic: says nothing that only one of the endings makes true
    beginning: tuple[Sentence, ...]  # follows the opening sentence, in the same paragraph
    middle: tuple[Sentence, ...]  # the trouble, a paragraph
    happy: tuple[str, ...]  # the turn for good, one drawn; a shared closing sentence follows it
    sad: tuple[str, ...]  # the turn for bad
    features: tuple[str, ...] = ()  # of MoralValue, Twist, Foreshadowing, Conflict: what the plot holds


# Names and kinds are one to three tokens each in nano's vocabulary; no two kinds share their first.
GIRLS = (
    "Lily",
    "Mia",
    "Anna",
    "Sara",
    "Emma",
    "Rose",
    "Amy",
    "Zoe",
    "Kate",
    "Jane",
    "Grace",
    "Tina",
    "Sally",
    "Sue",
    "Meg",
    "Mary",
    "Alice",
    "Nina",
    "Jill",
    "Beth",
    "Nell",
    "Cora",
)
BOYS = (
    "Tom",
    "Ben",
    "Sam",
    "Max",
    "Tim",
    "Leo",
    "Jack",
    "Bob",
    "Dan",
    "Finn",
    "Pip",
    "Joe",
    "Nick",
    "Sid",
    "Billy",
    "Fred",
    "Peter",
    "Paul",
    "David",
    "Ted",
    "Gus",
    "Matt",
)
ANIMALS = (
    "rabbit",
    "bear",
    "mouse",
    "cat",
    "dog",
    "frog",
    "pig",
    "duck",
    "monkey",
    "lion",
    "sheep",
    "goat",
)
COLORS = ("red", "blue", "green", "yellow", "white", "brown", "pink", "purple", "golden", "silver")
PARENTS = ("Mom", "Dad", "Grandma", "Grandpa")

OPENINGS = (
    "Once upon a time, there was a little {kind} named {name}.",
    "Once there was a small {kind} called {name}.",
    "There was a young {kind} whose name was {name}.",
    "In a small house lived a little {kind} named {name}.",
    "{name} was a kind little {kind}.",
    "{name} was a very curious {kind}.",
)
# The hero has an omen of how the story will end, and the story comes back to it before and at its turn.
OMENS = ("feeling", "dream")
HAPPY_MOODS = ("happy", "good")
SAD_MOODS = ("sad", "bad")
FORETELLING = ("{He} had a {mood} {omen} about {a_thing}.", "A {mood} {omen} about {a_thing} woke {him} up.")
RECALLING = ("The little {kind} thought of {his} {mood} {omen}.", "Oh, that {mood} {omen}!")
COMING_TRUE = ("The {mood} {omen} came true.", "{His} {mood} {omen} was right.")
HAPPY_CLOSINGS = (
    "The little {kind} smiled all day long.",
    "It was the best day ever for {name}.",
    "{name} felt warm and happy inside.",
    "{name} laughed and jumped for joy.",
    "{name} and {friend} danced with joy.",
    "That night, {name} went to bed with a big smile.",
)
SAD_CLOSINGS = (
    "The little {kind} cried for a long time.",
    "It was a very sad day for {name}.",
    "{name} felt cold and alone.",
    "{name} walked home with tears in {his} eyes.",
    "{name} and {friend} were very sad.",
    "That night, {name} cried in bed.",
)
