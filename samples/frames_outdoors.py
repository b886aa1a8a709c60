"""Story frames that happen outdoors: in the park, at the river, in the forest."""

from samples.words import Frame

FRAMES = (
    Frame(
        key="kite",
        things=("kite", "balloon", "paper plane", "flag"),
        places=("park", "hill", "field", "beach"),
        summaries=(
            "{name} the {kind} takes a {color} {thing} to the {place} on a windy day.",
            "{name} and {friend} play with a {color} {thing} in the wind.",
            "a little {kind} named {name}, a {color} {thing} and a strong wind",
            "The wind blows away the {thing} of {name}.",
        ),
        beginning=(
            ("{He} had a {color} {thing} and loved it very much.", "{parent} gave {him} a {color} {thing}."),
            (
                "One windy day, {name} took it to the {place} with {friend} the {friend_kind}.",
                "One day, {name} and {friend} the {friend_kind} went to the {place} to play with it.",
            ),
        ),
        middle=(
            ("Suddenly, a strong wind came.", "Then the wind grew very strong."),
            ("It pulled the {thing} out of {his} hands.", "It took the {thing} high up into the sky."),
            ('"Come back, {thing}!" {name} shouted.', '"Oh no, my {thing}!" said {name}.'),
            "They ran and ran after it.",
        ),
        happy=(
            "The {thing} came down in a tree. {friend} climbed up and brought it back. {name} hugged {friend} and said thank you.",
            "At last the wind stopped, and the {thing} fell down right at their feet. {name} held it tight and laughed.",
            "A kind bird saw it and caught the {thing} in the air. It gave it back to {name}, and they all played together.",
        ),
        sad=(
            "The {thing} flew over the trees and far away. They looked for it until dark. {name} never saw it again.",
            "The {thing} hit a sharp branch and broke into little pieces. Nobody could fix it.",
            "The {thing} fell into the deep river and sank. {friend} could not reach it, and it was gone.",
        ),
        features=("Conflict",),
    ),
    Frame(
        key="boat",
        things=("boat", "raft", "canoe", "sailboat"),
        places=("pond", "lake", "river"),
        summaries=(
            "{name} the {kind} wants to cross the {place} on a {color} {thing}.",
            "{name} and {friend} are far from land when water comes into the {thing}.",
            "a little {kind} named {name}, a {color} {thing} and a hole that lets water in",
            "The {thing} of {name} has a hole.",
        ),
        beginning=(
            (
                "{parent} made {him} a {color} {thing} out of wood.",
                "{He} had a {color} {thing} made of wood.",
            ),
            (
                "One sunny morning, {name} and {friend} the {friend_kind} set off on it across the {place}.",
                "{name} and {friend} the {friend_kind} wanted to cross the {place} on it.",
            ),
        ),
        middle=(
            (
                "In the middle of the water, they heard a loud crack.",
                "When they were far out, the {thing} hit a stone.",
            ),
            ("Cold water came in through a small hole.", "There was a hole in the wood, and water ran in."),
            ('"We are sinking!" cried {friend}.', '"Help, my feet are wet!" cried {friend}.'),
            "The land was still far away.",
        ),
        happy=(
            (
                "{name} pushed {his} scarf into the hole, and the water stopped. "
                "Slowly they brought the {thing} back to land, safe and sound."
            ),
            (
                "An old turtle swam by and took the {thing} on its back. It "
                'carried them all the way home. "Thank you, turtle!" said {name}.'
            ),
            (
                "{parent} saw them and threw a long rope. {friend} caught it, and {parent} pulled "
                "the {thing} to land. They mended the hole, and {name} sailed again that day."
            ),
        ),
        sad=(
            (
                "The {thing} filled with water and went down. The two came "
                "to land cold and wet, and {name} never sailed on it again."
            ),
            (
                "They jumped out and swam to land. Behind them, the {thing} "
                "broke in two and sank. {name} had lost it for good."
            ),
            (
                "The {thing} went lower and lower, and they had to leave it. It sank "
                "to the bottom of the {place}, where {name} could not reach it."
            ),
        ),
        features=("Conflict",),
    ),
    Frame(
        key="snow",
        things=("snowman", "snow castle", "igloo", "snow house", "snow bear"),
        places=("yard", "park", "field", "garden"),
        summaries=(
            "{name} the {kind} builds a big {thing} in the {place}, but then the warm sun comes out.",
            "{name} and {friend} make a big {thing} out of white snow.",
            "a little {kind} named {name}, a big {thing} and the hot sun",
            "The {thing} of {name} begins to melt.",
        ),
        beginning=(
            (
                "One winter day, there was white snow all over the {place}.",
                "In the night, snow fell on the {place}.",
            ),
            (
                "{He} built a big {thing} there with {friend} the {friend_kind}.",
                "{name} and {friend} the {friend_kind} went out and made a big {thing}.",
            ),
            ("They worked on it all morning.", "They were very proud of it."),
        ),
        middle=(
            ("But after lunch, the sun came out.", "But then the sky grew blue and the sun shone."),
            ("It got warmer and warmer.", "The sun was very warm that day."),
            ("Drip, drip, drip went the {thing}.", "Little drops of water ran down the {thing}."),
            ('"Oh no, it is melting!" cried {name}.', '"Please do not melt!" {name} begged.'),
        ),
        happy=(
            (
                "Just then, a big gray cloud hid the sun, and new snow fell. Soon "
                "the {thing} was bigger than before. {name} clapped {his} hands."
            ),
            (
                "{friend} had a good idea. They put up a big sheet, and the {thing} "
                "stood in the cool shade. {name} played with it all winter."
            ),
            (
                "Quickly, {name} and {friend} brought more snow and ice. They "
                "worked until the sun went down, and the {thing} was saved."
            ),
        ),
        sad=(
            (
                "The {thing} got smaller and smaller. In the evening there was only "
                "a puddle in the grass. {name} stood there and could do nothing."
            ),
            (
                "They ran to get more snow, but all the snow was gone. "
                "When {name} came back, the {thing} had turned into water."
            ),
            (
                "{friend} tried to give it some shade, but the sun was too hot. The "
                "{thing} melted away, and {name} had nothing left but wet gloves."
            ),
        ),
    ),
    Frame(
        key="nest",
        things=("egg", "baby bird", "baby owl", "baby crow"),
        places=("forest", "park", "garden", "woods"),
        summaries=(
            "{name} the {kind} finds a tiny {thing} in the grass under a tree.",
            "{name} and {friend} want to put the {thing} back into its nest.",
            "a little {kind} named {name} and a tiny {thing} that fell out of its nest",
            "{name} finds a little {thing} under a tall tree in the {place}.",
        ),
        beginning=(
            (
                "One spring morning, {he} walked in the {place} with {friend} the {friend_kind}.",
                "One day, {he} and {friend} the {friend_kind} were playing in the {place}.",
            ),
            (
                "Under a tall tree, {name} found a tiny {thing}.",
                "There, in the grass under a tree, {name} saw a tiny {thing}.",
            ),
        ),
        middle=(
            ("It had fallen out of its nest.", "It had fallen down from a nest high up in the tree."),
            ("It was all alone and very cold.", "It felt cold, and no mother bird was there."),
            ('"We must help it," {name} said softly.', '"It needs its mother," said {friend}.'),
            (
                "{name} took the {thing} in {his} warm hands.",
                "With great care, {name} picked up the {thing}.",
            ),
        ),
        happy=(
            (
                "{friend} brought a ladder, and {name} climbed up to the nest. "
                "The {thing} was home again, and the mother bird sang for joy."
            ),
            (
                "The mother bird came back. She let {name} put the {thing} "
                "into a soft new nest, and she kept her little one warm."
            ),
            (
                "They made a bed of soft grass and kept the {thing} warm all day. "
                "In the evening its mother found it, and {name} waved to them."
            ),
        ),
        sad=(
            (
                "They waited and waited for the mother bird. But she never "
                "came back to the {thing}, and {name} could not help it."
            ),
            (
                "{name} put it down in the grass and ran to get a ladder "
                "with {friend}. When they came back, the {thing} was gone."
            ),
            (
                "{name} climbed up and put the {thing} back. But a storm "
                "came that day and broke the nest, and the {thing} was lost."
            ),
        ),
    ),
    Frame(
        key="fruit",
        things=("apple", "pear", "plum", "peach", "orange"),
        places=("garden", "yard", "park", "village"),
        summaries=(
            "{name} the {kind} is hungry and wants the {thing} at the top of a tree.",
            "{name} and {friend} try to get a ripe {thing} down from a high branch.",
            "a hungry {kind} named {name} and a ripe {thing} high up in a tree",
            "The {thing} hangs too high for {name}.",
        ),
        beginning=(
            ("There was an old tree in the {place}.", "In the {place} stood a very tall tree."),
            ("At the top hung one ripe {thing}.", "Only one {thing} was left on it, at the very top."),
            (
                '"I am so hungry," {name} said to {friend} the {friend_kind}.',
                "{name} and {friend} the {friend_kind} were hungry and looked up at it.",
            ),
        ),
        middle=(
            (
                "{name} jumped and jumped, but it was too high.",
                "{name} stood on a box, but {he} was still too small.",
            ),
            ("The tree was wet, so they could not climb up.", "They tried to climb, but the tree was wet."),
            ('"Climb up on me!" said {friend}.', '"Let us try it together," said {friend}.'),
            "So {name} stood on {friend} and reached for the {thing}.",
        ),
        happy=(
            (
                "{He} stretched a little more and got it! They cut the "
                "{thing} in half, and it was sweet and full of juice."
            ),
            (
                "{He} shook the branch, and plop, down came the {thing}. "
                "{name} gave {friend} the bigger half, and it was so good."
            ),
            (
                "A kind bird saw them and picked the {thing} for "
                "them. {name} shared it with {friend} and the bird."
            ),
        ),
        sad=(
            (
                "A crow came and took the {thing} in its beak. It "
                "flew away over the roofs, and {name} was still hungry."
            ),
            (
                "{friend} slipped, and both fell down. The {thing} "
                "fell into the deep mud, and {name} could not eat it."
            ),
            (
                "At last {name} held it in {his} hand. But a worm "
                "had eaten the {thing}, and only the skin was left."
            ),
        ),
    ),
    Frame(
        key="forest",
        things=("lantern", "whistle", "map", "compass", "lamp"),
        places=("forest", "woods", "jungle"),
        summaries=(
            "{name} the {kind} is lost in the dark {place} with only the {thing} to help.",
            "{name} and {friend} take a {color} {thing} into the {place} and lose their way.",
            "a little {kind} named {name}, a {color} {thing} and a long way home in the dark",
            "{name} needs the {thing} to find the way home.",
        ),
        beginning=(
            (
                (
                    "Before the big party that night, {he} went to the "
                    "{place} for flowers with {friend} the {friend_kind}."
                ),
                (
                    "{He} and {friend} the {friend_kind} went into the "
                    "{place} to pick flowers for a party that night."
                ),
            ),
            (
                '"Take this {color} {thing}, it will help you," said {parent}.',
                "{parent} gave them a {color} {thing} to keep them safe.",
            ),
        ),
        middle=(
            ("They went deeper and deeper under the trees.", "They walked on and on and did not look back."),
            ("Soon it was dark, and the path was gone.", "It grew dark, and they could not see the path."),
            ('"We are lost!" said {friend}.', '"Which way is home?" asked {friend}.'),
            (
                "{name} looked for the {thing} in {his} bag.",
                "Then {name} thought of the {thing} in {his} bag.",
            ),
        ),
        happy=(
            (
                "{He} took it out, and it helped them just as {parent} had "
                "said. The {thing} brought them home, and the party began."
            ),
            (
                "With the {thing} in {his} hand, {name} was not afraid. "
                "They found the path and came home in time for the party."
            ),
            (
                "{parent} came to look for them, and {name} held the {thing} up high. "
                '"There you are!" said {parent}. They went to the party together.'
            ),
        ),
        sad=(
            (
                "{His} bag had a hole, and the {thing} was gone. They walked "
                "in the dark for hours. When they came home, the party was over."
            ),
            (
                "The {thing} fell from {his} hands into a deep, black hole. "
                "It was late when {name} got home, and they missed the party."
            ),
            (
                "The {thing} was wet and did not help them at all. "
                "They came home far too late, and {name} missed the party."
            ),
        ),
        features=("Foreshadowing",),
    ),
    Frame(
        key="treasure",
        things=("box", "chest", "jar", "suitcase"),
        places=("beach", "shore", "island", "coast"),
        summaries=(
            "{name} the {kind} digs on the {place} and finds a {color} {thing} that will not open.",
            "{name} and {friend} hope for a treasure in the {color} {thing} under the sand.",
            "a little {kind} named {name}, a {color} {thing} deep in the sand and a big wave",
            "{name} digs up a {color} {thing}.",
        ),
        beginning=(
            (
                "{name} and {friend} the {friend_kind} were digging with their spades on the {place}.",
                "One day, {he} dug a deep hole on the {place} with {friend} the {friend_kind}.",
            ),
            (
                "Knock! There was a {color} {thing} in the sand.",
                "Deep in the wet sand was a {color} {thing}.",
            ),
        ),
        middle=(
            ('"A treasure!" cried {friend}.', '"Maybe it is full of gold," said {name}.'),
            (
                "They pulled at the lid, but it was shut tight.",
                "They tried to open it, but the lid was stuck.",
            ),
            "{name} hit the lid with {his} spade, again and again.",
            ("They did not see the big wave that came.", "Behind them, the waves grew bigger and bigger."),
        ),
        happy=(
            (
                "Crack, the lid came off! The {thing} was full of gold coins. They ran "
                "away with it before the wave came, and {name} gave {friend} half."
            ),
            (
                "The wave came down on the {thing} and washed the lid off. "
                "Inside lay a hundred shiny pearls, and {name} loved them."
            ),
            (
                "They carried the {thing} away from the water just in time. "
                "{parent} helped them to open it, and {name} found it full of toys."
            ),
        ),
        sad=(
            "The wave took the {thing} and carried it far out to sea. {name} never found out what was in it.",
            (
                "At last the lid came off. But there was only dirty water in "
                "the {thing}, and the wave took the spade of {name} away."
            ),
            (
                "The wave knocked them down and smashed the {thing} on the rocks. "
                "All that was in it sank in the sea, and {name} got nothing."
            ),
        ),
    ),
    Frame(
        key="hill",
        things=("wagon", "cart", "wheel", "barrel", "tire"),
        places=("hill", "road", "street"),
        summaries=(
            "{name} the {kind} lets go of a {color} {thing}, and it rolls down the {place}.",
            "{name} and {friend} run after a {color} {thing} that rolls faster and faster.",
            "a little {kind} named {name} and a {color} {thing} that runs away down the {place}",
            "The {thing} rolls away from {name}.",
        ),
        beginning=(
            (
                "{parent} needed a {color} {thing} for the farm.",
                "{parent} had bought a {color} {thing} for the farm.",
            ),
            (
                "{name} and {friend} the {friend_kind} had to bring it up the {place}.",
                "{name} asked {friend} the {friend_kind} to help {him} push it up the {place}.",
            ),
            '"Hold it tight and never let go," said {parent}.',
        ),
        middle=(
            (
                "At the top, {name} saw a butterfly and let go.",
                "They were almost at the top when {name} let go to wave at a bird.",
            ),
            ("The {thing} began to roll.", "Slowly, the {thing} began to roll back."),
            ("Down it went, faster and faster!", "Bump, bump, bump, down it went!"),
            ('"Stop, stop!" {name} called.', '"Catch it!" shouted {friend}.'),
        ),
        happy=(
            (
                "A big cow stood in the way, and it bumped softly into her side and "
                "stopped. {name} thanked the cow and brought the {thing} to {parent}."
            ),
            (
                "The {thing} rolled right into a pile of hay and stood still. "
                "Nothing was broken. This time, {name} held it tight all the way up."
            ),
            (
                "{friend} took a short way, jumped in front of it and stopped it with "
                "a log. {name} and {friend} brought the {thing} safely to {parent}."
            ),
        ),
        sad=(
            (
                "The {thing} crashed into a wall and broke into many pieces. "
                "{parent} had no money for a new one, and {name} was to blame."
            ),
            (
                "Splash, it rolled into the deep river. The {thing} was "
                "gone, and {parent} did not smile. {name} hung {his} head."
            ),
            (
                "The {thing} rolled on and on until {name} could not see it any "
                "more. They looked for it all day, but somebody had taken it."
            ),
        ),
        features=("MoralValue", "Foreshadowing"),
    ),
    Frame(
        key="bridge",
        things=("basket", "pot", "lunch box", "bowl", "bag"),
        places=("river", "stream", "creek"),
        summaries=(
            "{name} the {kind} carries food in a {color} {thing} over an old bridge with a hole.",
            "{name} and {friend} must cross a broken bridge with a {color} {thing} for {parent}.",
            "a little {kind} named {name}, a {color} {thing} full of food and an old bridge",
            "{name} takes the {thing} over the bridge to {parent}.",
        ),
        beginning=(
            (
                "{parent} was at work across the {place} and was very hungry.",
                "{parent} worked all day in a field across the {place} and had nothing to eat.",
            ),
            (
                "So {name} filled a {color} {thing} with good food.",
                "{name} put bread and cheese in a {color} {thing}.",
            ),
            "{friend} the {friend_kind} came along.",
        ),
        middle=(
            ("They came to the old bridge over the {place}.", "The only way was an old wooden bridge."),
            ("Right in the middle was a big hole.", "A board was missing, and there was a big hole."),
            ('"Be careful!" said {friend}.', '"Do not look down," said {friend}.'),
            (
                "{name} held the {thing} and took a big step.",
                "{name} took the {thing} in both arms and jumped.",
            ),
        ),
        happy=(
            (
                "{He} landed safely on the other side. Soon they all sat "
                "in the grass with the {thing}, and {parent} ate and ate."
            ),
            (
                "{He} almost fell, but {friend} held {him} fast and pulled {him} over. "
                "Not one crumb fell from the {thing}. {parent} was so glad to eat."
            ),
            (
                '"You did it!" called {parent}, who stood there with a new board. '
                "{parent} mended the bridge, and they all ate from the {thing} of {name}."
            ),
        ),
        sad=(
            (
                "{He} came over, but the {thing} slipped and fell through the "
                "hole. The water took it away, and {parent} stayed hungry all day."
            ),
            (
                "Crack! One more board broke, and {he} had to let go of the {thing}. "
                "All the food fell into the water. {parent} got nothing to eat."
            ),
            (
                "{He} tripped and fell on the {thing}. All the food rolled into "
                "the water. {parent} waited for {name} with an empty belly."
            ),
        ),
        features=("Conflict",),
    ),
    Frame(
        key="hunt",
        things=("strawberry", "nut", "raspberry", "honeycomb", "blackberry"),
        places=("forest", "valley", "meadow", "woods"),
        summaries=(
            "{name} the {kind} looks for food in the {place} and finds only one {thing}.",
            "{name} and {friend} both want the same big {thing}.",
            "a hungry {kind} named {name}, a good friend and only one big {thing}",
            "There is just one {thing} for {name} and {friend}.",
        ),
        beginning=(
            (
                "{name} and {friend} the {friend_kind} looked for something good to eat in the {place}.",
                "All morning, {he} and {friend} the {friend_kind} looked for food in the {place}.",
            ),
            (
                "They looked under the leaves and behind the stones.",
                "They looked here and there, but there was nothing.",
            ),
            ("Then they found one big {thing}.", "At last they saw a big {thing}, but only one."),
        ),
        middle=(
            ('"I saw it first!" said {name}.', '"It is mine!" said {name}.'),
            ('"No, I did!" said {friend}.', '"No, I want it!" said {friend}.'),
            (
                "{name} pulled on one side, and {friend} pulled on the other.",
                "They both held the {thing} and would not let go.",
            ),
            ("They shouted and stamped their feet.", "They both got very angry."),
        ),
        happy=(
            (
                "{name} stopped and said sorry. {He} cut the {thing} into "
                "two equal parts, and it tasted better than anything before."
            ),
            (
                '"You can have it," said {name} after a while. {friend} was '
                "so glad and gave {him} the bigger half of the {thing}."
            ),
            (
                "They looked at each other and had to laugh. They gave the {thing} "
                "to a hungry ant, and the ant showed {name} a place with many more."
            ),
        ),
        sad=(
            (
                "While they were fighting, a crow came down and took the "
                "{thing}. Nothing was left, and {name} went hungry that day."
            ),
            (
                "The {thing} fell down, and {name} stepped on it. It "
                "was broken and full of dirt, and nobody could eat it."
            ),
            (
                "{name} pulled hard and ate the {thing} alone, very fast. {friend} "
                "turned around and went away, and did not want to be friends any more."
            ),
        ),
        features=("MoralValue", "Conflict"),
    ),
    Frame(
        key="garden",
        things=("sunflower", "tulip", "cabbage", "bean plant", "flower"),
        places=("garden", "yard", "field"),
        summaries=(
            "{name} the {kind} grows a fine {thing}, and a hungry donkey wants to eat it.",
            "{name} and {friend} find a donkey in front of their {thing}.",
            "a little {kind} named {name}, a big {thing} and a very hungry donkey",
            "A donkey comes into the {place} to eat the {thing} of {name}.",
        ),
        beginning=(
            (
                "In spring, {he} put a little seed in the {place}.",
                "{parent} gave {him} a seed, and {he} put it in the {place}.",
            ),
            (
                "{name} and {friend} the {friend_kind} gave it water every day.",
                "Every morning, {friend} the {friend_kind} helped {him} to water it.",
            ),
            ("It grew into a fine, big {thing}.", "By summer, there was a big {thing}."),
        ),
        middle=(
            (
                "But one day, a donkey came through the gate.",
                "But somebody left the gate open, and a donkey walked in.",
            ),
            ("It was very hungry, and it saw the {thing}.", "It looked at the {thing} with hungry eyes."),
            ('"Please do not eat it!" cried {name}.', '"Go away, donkey!" shouted {friend}.'),
            "The donkey came closer and opened its big mouth.",
        ),
        happy=(
            "Quickly, {friend} gave it a sweet carrot. It ate that and left the {thing} alone.",
            (
                "It only smelled the {thing} and smiled. From that day on, "
                "it stood at the gate and kept the {thing} of {name} safe."
            ),
            "{name} brought it a bag of hay to eat. The {thing} grew even bigger and won a prize.",
        ),
        sad=(
            (
                "With one bite, the {thing} was gone. There was only a "
                "hole in the ground where {name} had worked so long."
            ),
            "{friend} ran to help. But the donkey stepped on the {thing}, and {name} could not save it.",
            "It pulled the {thing} out of the ground and ran away. {name} could not catch it.",
        ),
        features=("Conflict",),
    ),
    Frame(
        key="rain",
        things=("umbrella", "raincoat", "coat", "cloak", "cape"),
        places=("park", "meadow", "market", "hills"),
        summaries=(
            "{name} the {kind} has a {color} {thing} in the rain, but {friend} has nothing.",
            "It rains hard on {name} and {friend}, and they have just one {thing}.",
            "a little {kind} named {name}, a {color} {thing} and a lot of cold rain",
            "{name} the {kind} stays dry under a new {color} {thing} on a rainy day.",
        ),
        beginning=(
            (
                "{He} had a new {color} {thing} from {parent}.",
                "{parent} bought {him} a new {color} {thing} for rainy days.",
            ),
            (
                "One gray day, {he} took it along to the {place} with {friend} the {friend_kind}.",
                "{He} took it along when {he} went to the {place} with {friend} the {friend_kind}.",
            ),
        ),
        middle=(
            ("Plip, plop, it began to rain.", "The sky turned black, and it rained hard."),
            ("{name} was warm and dry under the {thing}.", "{name} had the {thing} and stayed warm and dry."),
            (
                "But {friend} had nothing and was cold and wet.",
                "But {friend} stood in the cold rain and shivered.",
            ),
            ('"May I come under it too?" asked {friend}.', '"Is there room for me?" asked {friend}.'),
        ),
        happy=(
            (
                '"Of course!" said {name}. They stood close together under the '
                "{thing} and sang until the rain stopped and a rainbow came out."
            ),
            (
                "{name} took {friend} under the {thing} at once. It was big "
                "enough for two, and they walked home side by side, dry and warm."
            ),
            (
                "{name} gave {friend} one side of the {thing} and kept the other. "
                "They ran home laughing, and {parent} had hot soup for both."
            ),
        ),
        sad=(
            (
                '"No, it is mine!" said {name} and walked away with the {thing}. {friend} '
                "got wet and sick, and did not want to play with {name} any more."
            ),
            (
                "{name} did not want to share, and they both pulled at it. The "
                "{thing} tore in two, and the cold rain fell on them all the way home."
            ),
            (
                "{name} said no and held on to the {thing}. So {friend} went "
                "home alone through the rain and never came to play again."
            ),
        ),
        features=("MoralValue", "Conflict"),
    ),
    Frame(
        key="fishing",
        things=("shoe", "boot", "bucket", "kettle", "teapot"),
        places=("river", "lake", "pond", "sea"),
        summaries=(
            "{name} the {kind} wants to catch a fish but pulls an old {thing} out of the {place}.",
            "{name} and {friend} go fishing for supper and catch an old {thing}.",
            "a little {kind} named {name}, a fishing rod and an old {thing} instead of a fish",
            "{name} catches an old {thing} on the fishing rod.",
        ),
        beginning=(
            (
                "There was no food in the house, so {he} took {his} fishing rod to the {place}.",
                "{He} went to the {place} with {his} fishing rod to get some supper.",
            ),
            (
                "{friend} the {friend_kind} sat down next to {him}.",
                "{friend} the {friend_kind} came too and held the basket.",
            ),
        ),
        middle=(
            ("They waited for a long time.", "They sat still and waited and waited."),
            ("All at once, something pulled at the line.", "Then the rod began to shake."),
            ('"It must be a very big fish!" said {friend}.', '"Pull, {name}, pull!" cried {friend}.'),
            (
                "{name} pulled with all {his} might, and out came an old {thing}.",
                "But it was no fish. It was only an old {thing}.",
            ),
        ),
        happy=(
            (
                "{name} wanted to throw it back, but something moved in it. A "
                "big fat fish was inside the {thing}! They had a fine supper."
            ),
            (
                'A giant came out of the trees. "My {thing}! You found '
                'it!" he said, and he gave {name} a basket full of fish.'
            ),
            (
                "{name} turned the {thing} over, and ten gold coins fell "
                "out. They bought bread and cheese and cake for everybody."
            ),
        ),
        sad=(
            (
                "The {thing} was so heavy that the rod broke in two. "
                "They could not fish any more, and {name} had no supper."
            ),
            (
                "{name} threw the {thing} away and tried again until dark. "
                "But there was not one fish, and they stayed hungry."
            ),
            (
                "{friend} laughed at {name} and the old {thing} and went "
                "home. {name} sat there all alone and caught nothing more."
            ),
        ),
        features=("Twist",),
    ),
    Frame(
        key="lost_baby",
        things=("lamb", "kitten", "calf", "puppy", "chick", "foal"),
        places=("field", "forest", "valley", "meadow"),
        summaries=(
            "{name} the {kind} hears a lost little {thing} that calls for its mother.",
            "{name} and {friend} find a little {thing} that is stuck in a bush.",
            "a little {kind} named {name} and a small {thing} that cries for help in the {place}",
            "A little {thing} is lost, and {name} hears it.",
        ),
        beginning=(
            (
                "One evening, {name} was on the way home with {friend} the {friend_kind}.",
                "{name} and {friend} the {friend_kind} were walking home late one day.",
            ),
            ("In the {place}, they heard somebody cry.", "They heard a small voice in the {place}."),
        ),
        middle=(
            ('"Help! Where is my mother?" called the voice.', '"Mama! Mama!" cried the voice.'),
            (
                "It was a little {thing}, stuck in a bush.",
                "They found a little {thing} that had lost its way and was stuck in a bush.",
            ),
            ("It shook with fear and was very tired.", "Its legs hurt, and it was afraid of the dark."),
            ('"Do not be afraid," said {name}.', '"We will help you," said {name} softly.'),
        ),
        happy=(
            (
                "{name} held back the branches, and the {thing} was free. Soon they "
                "heard its mother call. She kissed her baby and thanked {name}."
            ),
            (
                "{friend} pulled, {name} pulled, and out came the {thing}. They "
                "took it home, and in the morning its mother came to get it."
            ),
            (
                "{name} set it free and took it to the farm. There the mother "
                "stood at the gate, and the {thing} ran to her and cuddled up."
            ),
        ),
        sad=(
            (
                "They ran to get {parent}. But when {name} came back with a light, "
                "the {thing} was gone, and they never heard its voice again."
            ),
            (
                "{name} set it free, and they looked for its mother everywhere. "
                "But nobody knew her, and the little {thing} had no home."
            ),
            (
                "{name} opened the branches. But the {thing} was so afraid that "
                "it ran away into the night, and its mother never found it."
            ),
        ),
    ),
    Frame(
        key="wish",
        things=("stone", "shell", "feather", "ring", "pearl"),
        places=("sea", "lake", "river", "pond"),
        summaries=(
            "{name} the {kind} finds a magic {thing} that can grant one wish.",
            "{name} and {friend} find a {color} {thing} that begins to shine and speak.",
            "a little {kind} named {name}, a magic {color} {thing} and one wish",
            "{name} may make a wish with a magic {thing}.",
        ),
        beginning=(
            ("{parent} was ill in bed, and no doctor could help.", "{parent} had been ill for many days."),
            (
                "On a walk by the {place} with {friend} the {friend_kind}, {name} found a {color} {thing}.",
                "By the {place}, {name} and {friend} the {friend_kind} found a {color} {thing}.",
            ),
        ),
        middle=(
            ("It began to shine like a star.", "It grew warm, and a light came out of it."),
            ('"I am a magic {thing}," it said.', '"Hello, I am magic," said the {thing}.'),
            ('"You have one wish, and only one."', '"I can give you one wish."'),
            ("{name} and {friend} looked at it with big eyes.", "They could not believe their ears."),
        ),
        happy=(
            (
                '"Please make {parent} well again," said {name}. The {thing} '
                "shone once more, and at home {parent} got up and was well."
            ),
            (
                "{name} closed {his} eyes and wished for {parent} to get well. The "
                "{thing} rang like a bell, and {parent} came running to meet them."
            ),
            (
                "{friend} wanted a cake, but {name} thought of {parent} first. The wish "
                "came true, {parent} was well, and the {thing} gave them a cake too."
            ),
        ),
        sad=(
            (
                '"I wish for a cake!" said {friend} too fast. A cake came, but the {thing} '
                "turned gray and was silent. {parent} stayed ill, and {name} could do nothing."
            ),
            (
                "{name} was so glad that {he} jumped, and the {thing} fell into "
                "the deep water. The wish was lost, and {parent} stayed ill."
            ),
            (
                "{name} and {friend} began to fight over the wish. At last the light "
                "of the {thing} went out for ever, and nobody could help {parent}."
            ),
        ),
    ),
    Frame(
        key="swing",
        things=("swing", "rope", "hammock", "rope ladder"),
        places=("garden", "yard", "forest", "park"),
        summaries=(
            "{name} the {kind} plays on an old {color} {thing} that is not strong enough for two.",
            "{name} and {friend} both climb on the {color} {thing} in the tree.",
            "a little {kind} named {name} and an old {color} {thing} that may break",
            "The old {thing} makes a bad sound when {name} plays on it.",
        ),
        beginning=(
            (
                "In the {place}, an old {color} {thing} hung from a tree.",
                "An old {color} {thing} hung from a tree in the {place}.",
            ),
            (
                '"Only one at a time," {parent} always said.',
                '"It is not strong enough for two," said {parent}.',
            ),
            (
                "{name} loved to play on it with {friend} the {friend_kind}.",
                "{name} and {friend} the {friend_kind} played there every day.",
            ),
        ),
        middle=(
            ("One day, {name} did not want to wait.", "One day, {name} forgot what {parent} had said."),
            (
                "{friend} was up on the {thing}, and {name} climbed on too.",
                "Both of them got on the {thing} together.",
            ),
            ("They went high up in the air.", "It was great fun to be so high up."),
            ("Then they heard a bad sound, crack!", '"Did you hear that crack?" asked {friend}.'),
        ),
        happy=(
            (
                "{name} got off right away, and nothing broke. {parent} mended "
                "the {thing}, and after that they took turns and had lots of fun."
            ),
            (
                "The {thing} broke, but they fell into a big heap of soft leaves. "
                "{parent} put up a new one for {name}, strong enough for two."
            ),
            (
                "{parent} came running and caught them both. {name} said sorry, "
                "and together they made the {thing} strong and safe again."
            ),
        ),
        sad=(
            (
                "The {thing} broke, and they fell to the hard ground. {name} "
                "hurt {his} arm and could not play for the whole summer."
            ),
            (
                "The {thing} fell down with a big branch. {parent} had to "
                "take it away, and {name} could never play there again."
            ),
            (
                "The {thing} broke, and {friend} fell on the hard stones. "
                "After that, {friend} did not want to see {name} any more."
            ),
        ),
        features=("MoralValue", "Foreshadowing"),
    ),
)
