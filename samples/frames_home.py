"""Story frames that happen at home: in the kitchen, in the garden, in bed."""

from samples.words import Frame

FRAMES = (
    Frame(
        key="soft_toy",
        things=("teddy bear", "doll", "blanket", "toy horse", "toy elephant"),
        places=("garden", "park", "yard"),
        summaries=(
            "{name} the {kind} wants to take a nap but cannot find a soft {color} {thing}.",
            "{name} and {friend} look all over the house for a lost {thing}.",
            "a little {kind} named {name} and a soft {thing} that is not in the bed",
            "The {thing} of {name} is gone at nap time.",
        ),
        beginning=(
            (
                "{He} took a soft {color} {thing} to bed every night.",
                "{He} could not sleep without a soft {color} {thing}.",
            ),
            (
                "One morning, {name} took it along to play in the {place} with {friend} the {friend_kind}.",
                (
                    "One morning, "
                    "{he} carried it around in the {place} and played with {friend} the {friend_kind}."
                ),
            ),
        ),
        middle=(
            (
                "When it was time for a nap, the bed was empty.",
                "After lunch, {name} wanted a nap, but the bed was empty.",
            ),
            ('"Where is my {thing}?" asked {name}.', '"My {thing} is lost!" cried {name}.'),
            (
                "They looked under the table and behind the door.",
                "They looked in the kitchen and under all the chairs.",
            ),
            "Then they ran back to the {place} to look there too.",
        ),
        happy=(
            "There it was, under a green bush! {name} hugged the {thing} and did not let go of it again.",
            (
                "{friend} saw something {color} behind a big tree. It was the {thing}! "
                "{name} hugged it and gave {friend} a kiss."
            ),
            (
                "{parent} came after them with the {thing}. "
                "It had been in the wash, and now it was clean and soft. {name} held it tight."
            ),
        ),
        sad=(
            "The grass was empty. {name} looked until the sun went down, and still the {thing} was gone.",
            "{name} found the {thing} in the mud, torn to pieces. Nobody could sew it together again.",
            (
                "Somebody had taken the {thing} away. "
                "Nobody knew who it was, and {name} never slept with it again."
            ),
        ),
    ),
    Frame(
        key="baking",
        things=("cake", "pie", "muffin", "pudding", "tart"),
        places=("kitchen", "cottage", "cabin"),
        summaries=(
            "{name} the {kind} wants to bake a big {thing} in the hot oven of {friend}.",
            "{name} bakes a sweet {thing} with {friend}, but the two forget the time.",
            "a little {kind} named {name}, a hot oven and a big {thing}",
            "{name} puts a big {thing} into the oven to bake.",
        ),
        beginning=(
            (
                "One day, {he} wanted to bake a big {thing}.",
                "One day, {name} felt like baking a big {thing}.",
            ),
            (
                "{friend} the {friend_kind} had a good oven in the {place} and wanted to help.",
                "{He} went to {friend} the {friend_kind}, who had a hot oven in the {place}.",
            ),
        ),
        middle=(
            ("They mixed flour, milk and eggs in a bowl.", "They mixed eggs and flour in a bowl."),
            "{name} put the {thing} into the oven.",
            ('"We must not forget it," said {friend}.', '"We must take it out in time," said {friend}.'),
            ("But soon they both fell asleep.", "But they played a game and forgot the time."),
            "Then {name} smelled something hot.",
        ),
        happy=(
            "{name} pulled the {thing} out just in time. It was warm and golden, and they ate it with milk.",
            "{friend} opened the oven. The {thing} was not burned at all, and {name} got the first bite.",
            "It was a good smell, and the {thing} was ready! {name} cut it in two, and they ate it all.",
        ),
        sad=(
            "It was too late for {name}. The {thing} was as black as coal, and nobody could eat it.",
            "{name} pulled it out too fast. The {thing} fell on the dirty floor, and nobody could eat it.",
            "Black smoke came out. The {thing} was burned, and {friend} was angry and sent {name} away.",
        ),
        features=("Foreshadowing",),
    ),
    Frame(
        key="seed",
        things=("seed", "bean", "apple seed", "pumpkin seed", "bulb"),
        places=("fence", "gate", "shed"),
        summaries=(
            "{name} the {kind} plants a tiny {thing} in a {color} pot and waits for it to grow.",
            "{name} and {friend} give water to a little {thing} that does not come up.",
            "a young {kind} named {name}, a {color} pot and a sleepy {thing}",
            "{name} wants a little {thing} to grow.",
        ),
        beginning=(
            ("{parent} gave {him} a tiny {thing}.", "{He} found a tiny {thing} in an old bag."),
            (
                "{name} planted it in a {color} pot by the {place}.",
                "{He} put it in the soil of a {color} pot by the {place}.",
            ),
            (
                "{friend} the {friend_kind} came every day to help.",
                "Every morning, {friend} the {friend_kind} came to bring some water.",
            ),
        ),
        middle=(
            ("Day after day, nothing came up.", "A week went by, and the pot still looked empty."),
            ('"Why does it not grow?" asked {name}.', '"Is my {thing} asleep?" asked {name}.'),
            ('"We have to wait," said {friend}.', '"Good things take time," said {friend}.'),
            ("So they gave it water and waited some more.", "So {name} sat down by the pot and waited."),
        ),
        happy=(
            (
                "One morning, {name} saw a green leaf. The {thing} was growing! "
                "Soon there was a lovely flower."
            ),
            "{name} gave it some water and sang to it. The next day, the {thing} had two green leaves.",
            (
                "At last the sun grew warm, and the {thing} woke up. "
                "It grew and grew until it was taller than {name}."
            ),
        ),
        sad=(
            "At last {name} dug in the soil. The {thing} was soft and black, and it could never grow.",
            (
                "A very cold night came, and {name} found the pot full of ice. "
                "The {thing} was frozen, and no leaf ever came up."
            ),
            (
                "One day, {name} came too late. "
                "The pot was broken, and a hungry crow ate the {thing} and flew away."
            ),
        ),
        features=("MoralValue",),
    ),
    Frame(
        key="storm",
        things=("lamp", "lantern", "night light", "flashlight", "candle"),
        places=("cabin", "hut", "tree house", "barn"),
        summaries=(
            "{name} the {kind} has only a {color} {thing} in a big storm at night.",
            "{name} and {friend} sit by a {color} {thing} while the thunder roars.",
            "a small {kind} named {name}, a dark stormy night and a little {thing}",
            "{name} is afraid of thunder and looks at the {thing}.",
        ),
        beginning=(
            (
                "One night, {name} slept in the {place} with {friend} the {friend_kind}.",
                "One night, {he} and {friend} the {friend_kind} stayed in the {place}.",
            ),
            (
                "They had a little {color} {thing} to keep the dark away.",
                "A little {color} {thing} gave them light.",
            ),
        ),
        middle=(
            (
                "Late at night, the thunder began to roar.",
                "Then a storm came, and the thunder went boom, boom.",
            ),
            ('"I am scared," said {name}.', '"That was so loud!" cried {name}.'),
            ("The two sat down close to the {thing}.", "They held hands and looked at the {thing}."),
            (
                "But the wind blew the door open, and the light grew very small.",
                "But the wind came in, and the light began to shake.",
            ),
        ),
        happy=(
            (
                "{name} pushed the door shut with all {his} strength. "
                "The {thing} shone bright again, and by morning the storm was over."
            ),
            (
                "{friend} began to sing, and {name} sang too. "
                "The {thing} did not go out, and in the morning the sky was blue."
            ),
            (
                "{parent} came in and made the {thing} bright again. "
                "With {parent} there, {name} was not afraid, and soon it was a sunny morning."
            ),
        ),
        sad=(
            (
                "The {thing} went out, and all was black. "
                "Nobody came to help {name}, and the thunder did not stop until morning."
            ),
            (
                "The wind threw the {thing} on the floor, and it broke. "
                "{name} sat in the dark and was afraid all night long."
            ),
            (
                "Cold rain fell on the {thing}, and it went out for good. "
                "{name} was cold and wet, and it was a long, bad night."
            ),
        ),
        features=("Conflict",),
    ),
    Frame(
        key="broken_vase",
        things=("vase", "plate", "bowl", "teapot", "jug"),
        places=("table", "shelf", "cupboard"),
        summaries=(
            "{name} the {kind} breaks the {color} {thing} of {friend} while nobody looks.",
            "{name} plays with a ball in the house and breaks a fine {thing}.",
            "a young {kind} named {name}, a ball and a broken {thing}",
            "{friend} asks {name} about a broken {color} {thing}.",
        ),
        beginning=(
            (
                "One day, {name} went to see {friend} the {friend_kind}.",
                "{name} went to play at the house of {friend} the {friend_kind}.",
            ),
            (
                "On the {place} stood a {color} {thing} that {friend} loved.",
                "{friend} had a fine {color} {thing} on the {place}.",
            ),
        ),
        middle=(
            (
                "While {friend} was in the garden, {name} threw a ball.",
                "{friend} went out for a moment, and {name} played with a ball in the room.",
            ),
            (
                "Bump! The {thing} fell down and broke.",
                "The ball hit the {thing}, and it fell down and broke.",
            ),
            ("Nobody had seen it.", "{name} was all alone in the room."),
            'Then {friend} came in and asked, "Who did this?"',
        ),
        happy=(
            (
                '"It was me, and I am sorry," said {name}. '
                "{friend} was not angry at all, and they mended the {thing} with glue."
            ),
            "{name} told the truth at once. {friend} gave {name} a hug and found another {thing} in a box.",
            (
                "{name} wanted to hide, but {he} told the truth. "
                "They put the {thing} together again, and they were better friends than ever."
            ),
        ),
        sad=(
            (
                '"The wind did it," said {name}. '
                "{friend} knew that it was a lie, took the broken {thing} and did not want to play anymore."
            ),
            (
                "{name} said nothing and hid the pieces of the {thing}. "
                "{friend} found them all and did not trust {name} again."
            ),
            (
                '{name} was too afraid to tell the truth. "Go away," '
                "said {friend}, with the last piece of the {thing} in one hand."
            ),
        ),
        features=("MoralValue", "Conflict"),
    ),
    Frame(
        key="letter",
        things=("letter", "card", "picture", "drawing", "painting"),
        places=("sea", "lake", "forest", "river"),
        summaries=(
            "{name} the {kind} makes a pretty {thing} for {friend}, who lives far away.",
            "{name} sends a pretty {thing} to {friend} and waits for an answer.",
            "a lonely little {kind} named {name}, a mailbox and a pretty {thing}",
            "{name} misses a friend who is far away and sends a pretty {thing}.",
        ),
        beginning=(
            (
                "{His} best friend was {friend} the {friend_kind}, who lived far away by the {place}.",
                "{His} best friend {friend} the {friend_kind} had gone away to live by the {place}.",
            ),
            (
                "So {name} made a pretty {thing} with a {color} heart on it.",
                "{name} took some {color} paper and made a pretty {thing} for {friend}.",
            ),
        ),
        middle=(
            ("{parent} helped {him} to send it.", "{He} put it in the mailbox at the end of the road."),
            (
                '"I hope {friend} likes my {thing}," said {name}.',
                '"I hope to hear from {friend} soon," said {name}.',
            ),
            (
                "Each morning, {he} walked to the mailbox.",
                "Each day, {he} went down the road to look in the mailbox.",
            ),
            ("Many days went by, and nothing came.", "A week went by, and the mailbox stayed empty."),
        ),
        happy=(
            "{friend} came up the road with the {thing} and a big bag. {friend} had missed {name} too.",
            (
                'One day, {friend} jumped out of a bus. "I had to come and thank you for the {thing}," '
                "said {friend} and hugged {name}."
            ),
            (
                "At last somebody knocked at the door. "
                "It was {friend}, who held up the {thing} and hugged {name} for a long time."
            ),
        ),
        sad=(
            (
                "The {thing} came back to {name}, wet and torn. "
                "{friend} had moved away again, and nobody knew where."
            ),
            (
                "The {thing} had been lost on the way. "
                "{friend} thought that {name} did not care, and the two never met again."
            ),
            (
                "Rain had washed the {thing} clean, and {friend} did not know who had sent it. "
                "So nobody ever wrote to {name}."
            ),
        ),
    ),
    Frame(
        key="birthday",
        things=("scooter", "bike", "wagon", "toy train", "toy car"),
        places=("garden", "yard", "park"),
        summaries=(
            "{name} the {kind} has a birthday and wishes for a {color} {thing}.",
            "{name} waits for {friend}, who will bring a new {thing} to the birthday party.",
            "a birthday party, a young {kind} named {name} and a wish for a {color} {thing}",
            "{name} wants a new {thing} for {his} birthday.",
        ),
        beginning=(
            (
                "It was {his} birthday, and {he} wished for a {color} {thing}.",
                "Today was {his} birthday, and {he} wanted a {color} {thing} more than anything.",
            ),
            (
                "{friend} the {friend_kind} had promised to bring one to the party in the {place}.",
                (
                    '"I will bring you one," '
                    "{friend} the {friend_kind} had said, and there was a party in the {place}."
                ),
            ),
        ),
        middle=(
            (
                "There was a big cake with candles on the table.",
                "{parent} put a cake and some cups on the table.",
            ),
            "{name} sat down and waited for {friend}.",
            ("An hour went by.", "The sun moved across the sky."),
            ('"Has {friend} forgotten me?" asked {name}.', '"Where can {friend} be?" asked {name}.'),
        ),
        happy=(
            (
                "{friend} jumped out from behind a bush with the new {thing}. "
                "It was a surprise, and {name} played with it until dark."
            ),
            (
                "At last {friend} came with a very big box. "
                "In it was the {thing}, and {name} thanked {friend} again and again."
            ),
            (
                "Ring, ring! There was {friend} with the {thing}, and many other friends came too. "
                "They sang for {name} and ate all the cake."
            ),
        ),
        sad=(
            (
                "{friend} came very late and with empty hands. "
                "The {thing} had fallen into the river, and {name} did not get it."
            ),
            "It grew dark, and nobody came. {friend} was ill in bed, and {name} had no {thing} and no party.",
            (
                "{friend} came at last, and {name} opened the box. "
                "The {thing} in it was broken, and nobody wanted to sing."
            ),
        ),
    ),
    Frame(
        key="winter_clothes",
        things=("hat", "scarf", "mitten", "cap", "sock"),
        places=("barn", "pond", "gate", "old tree"),
        summaries=(
            "{name} the {kind} wants to go out in the snow, but {his} {color} {thing} is missing.",
            "{name} and {friend} search for a warm {thing} on a cold winter day.",
            "a little {kind} named {name}, a lot of snow and a missing {color} {thing}",
            "{name} is cold in winter without a warm {thing}.",
        ),
        beginning=(
            (
                "{He} had a warm {color} {thing} for the cold winter days.",
                "{parent} had made {him} a warm {color} {thing} for the winter.",
            ),
            (
                (
                    "One white morning, "
                    "{friend} the {friend_kind} asked {him} to play in the snow by the {place}."
                ),
                "It snowed, and {he} wanted to play by the {place} with {friend} the {friend_kind}.",
            ),
        ),
        middle=(
            (
                "But the {thing} was not in the box by the door.",
                "But when {name} looked for the {thing}, it was not there.",
            ),
            ('"I am so cold without it!" said {name}.', '"I need my {thing}!" said {name}.'),
            (
                "They looked under every chair and behind the stove.",
                "They looked in every drawer and under the rug.",
            ),
            ("Outside, more and more snow came down.", "Outside, the wind was as cold as ice."),
        ),
        happy=(
            (
                "All at once, {friend} began to laugh. The {thing} stuck out of {name}'s own pocket! "
                "{name} put it on, and they made a big snowman."
            ),
            (
                "{parent} saw the {thing} by the fire, warm and dry. "
                "{name} put it on, and out they ran into the snow."
            ),
            (
                "{friend} looked into an old boot, and there was the {thing}. "
                "Now {name} was warm, and they played in the snow until noon."
            ),
        ),
        sad=(
            (
                "{name} went out without it and was so cold that they could not play. "
                "The {thing} was never found."
            ),
            (
                "They went out to look for it and found it in the ice. "
                "When {name} pulled, the {thing} tore in two, and nobody could mend it."
            ),
            (
                "{name} looked for the {thing} in the deep snow until {his} nose hurt. "
                "It was lost, and {friend} went home alone."
            ),
        ),
    ),
    Frame(
        key="blocks",
        things=("tower", "castle", "bridge", "palace", "fort"),
        places=("floor", "rug", "porch"),
        summaries=(
            "{name} the {kind} builds a tall {thing} out of {color} blocks.",
            "{name} and {friend} build a high {thing} with blocks, and it begins to shake.",
            "a young {kind} named {name} with one more block for a tall {thing}",
            "{name} wants to build the tallest {thing} of all.",
        ),
        beginning=(
            (
                "{friend} the {friend_kind} had a big box of {color} blocks.",
                "{name} went to {friend} the {friend_kind}, who had many {color} blocks.",
            ),
            (
                "The two sat on the {place} and built a tall {thing}.",
                "All morning, they built a tall {thing} on the {place}.",
            ),
        ),
        middle=(
            ("Block by block, it grew up and up.", "Soon it was as tall as a door."),
            ('"Just one more block!" said {name}.', '"I want it even higher," said {name}.'),
            ('"Be careful, it is too high," said {friend}.', '"Please be slow," said {friend}.'),
            (
                "{name} stood on a chair, and the {thing} began to shake.",
                "{name} reached up with the last block, and the {thing} began to shake.",
            ),
        ),
        happy=(
            (
                "{name} stopped and took a slow breath. "
                "Then {he} set the block on top, and the {thing} stood still and did not fall."
            ),
            (
                "{friend} held on to the bottom with both hands, and {name} put the block on top. "
                "What a fine {thing} it was!"
            ),
            (
                "One block fell off, but the {thing} stayed up. "
                "{name} put a little flag on top, and everybody came to see it."
            ),
        ),
        sad=(
            (
                'Crash! The {thing} fell down. "You did not listen," '
                "said {friend} and would not play with {name} anymore."
            ),
            (
                "{name} did not wait. "
                "The {thing} fell on {friend}'s foot, and {friend} cried and wanted {name} to go away."
            ),
            (
                "{friend} pulled {name} away, and they began to fight. "
                "The {thing} fell down, and they did not build it again."
            ),
        ),
        features=("Foreshadowing", "Conflict"),
    ),
    Frame(
        key="ill_friend",
        things=("flower", "book", "puppet", "pillow", "music box"),
        places=("lake", "forest", "road", "mill"),
        summaries=(
            "{name} the {kind} brings a {color} {thing} to {friend}, who is ill in bed.",
            "{friend} has a fever, and {name} comes to visit with a pretty {thing}.",
            "a kind {kind} named {name}, a sick friend in bed and a {color} {thing}",
            "{name} wants to help a sick friend with a pretty {thing}.",
        ),
        beginning=(
            (
                "One day, {friend} the {friend_kind} was ill and had to stay in bed.",
                "{He} heard that {friend} the {friend_kind} was in bed with a fever.",
            ),
            (
                "{name} took a pretty {color} {thing} and went to the house by the {place}.",
                "{name} ran to the house by the {place} with a pretty {color} {thing}.",
            ),
        ),
        middle=(
            ('"This {thing} is for you," said {name}.', '"Look what I have for you," said {name}.'),
            ("But {friend} was hot and only wanted to sleep.", "But {friend} was too weak to look up."),
            (
                "{name} put the {thing} next to the bed and sat down.",
                "{name} set the {thing} down by the bed.",
            ),
            ("It was very quiet in the room.", "The doctor came and brought some bitter tea."),
        ),
        happy=(
            (
                "After a long sleep, {friend} sat up and saw the {thing}. "
                "The fever was gone, and soon {name} and {friend} could play again."
            ),
            (
                '{friend} looked at the {thing} and began to smile. "I feel much better now," '
                "said {friend} and hugged {name}."
            ),
            (
                "{name} came back every day. "
                "On the third day, {friend} took the {thing} in both hands and was well again."
            ),
        ),
        sad=(
            (
                "{friend} got worse and had to go to a hospital far away. "
                "{name} and the {thing} stayed behind by the empty bed."
            ),
            (
                "{friend} turned to the wall and did not say a word. "
                "{name} had to leave, and the {thing} lay there and nobody looked at it."
            ),
            (
                "By evening, {friend} was even more ill, and {name} had to go. "
                "The {thing} fell behind the bed and was forgotten."
            ),
        ),
    ),
    Frame(
        key="sweet_to_share",
        things=("cookie", "apple", "pear", "peach", "cupcake"),
        places=("steps", "bench", "wall", "grass"),
        summaries=(
            "{name} the {kind} has the last {thing}, and {friend} asks for a bite.",
            "{name} has a big sweet {thing} and does not want to share it.",
            "a young {kind} named {name}, a hungry friend and one last {thing}",
            "Hungry {friend} looks at the {thing} of {name}.",
        ),
        beginning=(
            (
                "{parent} gave {him} the last {thing} from the bowl.",
                "There was only one {thing} left, and {parent} gave it to {name}.",
            ),
            "{He} sat down on the {place} to eat it.",
            (
                "Then {friend} the {friend_kind} came by and was very hungry.",
                "Next to {him} sat {friend} the {friend_kind}, who had nothing to eat.",
            ),
        ),
        middle=(
            ("The {thing} was big and smelled so sweet.", "It was a big, sweet {thing}."),
            ('"May I have a bite?" asked {friend}.', '"Can you give me a little?" asked {friend}.'),
            ("{name} held it tight and wanted it all.", '"But it is mine," said {name}.'),
            (
                "{friend} did not say a word and looked at the ground.",
                "{friend} looked at it with big, hungry eyes.",
            ),
        ),
        happy=(
            (
                "{name} thought for a moment and gave {friend} half of the {thing}. "
                "It tasted twice as good that way."
            ),
            (
                '"You can have half," said {name}. '
                "They ate the {thing} together, and {friend} told a funny story."
            ),
            (
                "So {name} let {friend} have the first bite of the {thing}. "
                "{parent} saw it, was very proud and brought them cold milk."
            ),
        ),
        sad=(
            (
                "{name} turned around and ate the {thing} alone. "
                "{friend} went away hungry and did not come back to play."
            ),
            "{name} pulled it away, and the {thing} fell into the dirt. Now nobody could eat it.",
            (
                "{name} ate the {thing} much too fast, and {his} tummy hurt. "
                "{friend} did not want to be friends anymore and left."
            ),
        ),
        features=("MoralValue", "Conflict"),
    ),
    Frame(
        key="pet",
        things=("hamster", "chick", "turtle", "lizard", "guinea pig"),
        places=("garden", "yard", "field", "barn"),
        summaries=(
            "The pet {thing} of {name} the {kind} gets out of its box.",
            "{name} and {friend} follow tiny tracks to look for a little {thing}.",
            "an open box, a young {kind} named {name} and a little {thing} that ran away",
            "{name} looks for a little pet {thing}.",
        ),
        beginning=(
            (
                "{He} had a pet, a little {thing} in a wooden box.",
                "{parent} gave {him} a little {thing} that lived in a wooden box.",
            ),
            (
                "{friend} the {friend_kind} came every day to help feed it.",
                "Every day, {he} fed it together with {friend} the {friend_kind}.",
            ),
        ),
        middle=(
            (
                "One morning, the lid was open and the box was empty.",
                "One day, {name} forgot to close the lid, and soon the box was empty.",
            ),
            ('"My {thing} got out!" cried {name}.', '"Where did my {thing} go?" cried {name}.'),
            (
                "{friend} saw tiny tracks that went into the {place}.",
                "Tiny tracks in the dust led them into the {place}.",
            ),
            ("They walked very softly and called its name.", "They looked high and low."),
        ),
        happy=(
            "Something moved under a leaf. It was the {thing}, and it came right into {name}'s hands.",
            (
                "{friend} put some food on the ground, and soon the {thing} came to eat. "
                "{name} picked it up and closed the lid well."
            ),
            (
                "They heard a small noise in an old shoe. "
                "The {thing} was asleep in there, safe and warm, and {name} took it back to its box."
            ),
        ),
        sad=(
            "The tracks stopped at a stream. The {thing} was gone, and it never came back to {name}.",
            (
                "{name} called until it was dark, but no {thing} came. "
                "From then on, the little box stayed empty."
            ),
            (
                "{name} saw the {thing} one last time, on the other side of a wide road. "
                "It did not turn around, and then it was gone."
            ),
        ),
    ),
    Frame(
        key="loud_drum",
        things=("drum", "horn", "trumpet", "whistle", "bell"),
        places=("garden", "yard", "street"),
        summaries=(
            "{name} the {kind} makes too much noise with a shiny {thing}.",
            "{name} has a new {thing}, and {friend} wants to sleep.",
            "a noisy little {kind} named {name} and a loud new {thing}",
            "The {thing} of {name} is so loud that it hurts.",
        ),
        beginning=(
            ("{parent} gave {him} a shiny new {thing}.", "One day, {he} got a shiny new {thing}."),
            (
                "{name} marched up and down in the {place} with it.",
                "All day long, {name} made music with it in the {place}.",
            ),
            "Next door, {friend} the {friend_kind} was tired and wanted to sleep.",
        ),
        middle=(
            ("The {thing} was so loud that the windows shook.", "Oh, how loud the {thing} was!"),
            (
                '"Please stop, my ears hurt!" said {friend}.',
                '"Please be quiet, I cannot sleep," said {friend}.',
            ),
            ("But {name} laughed and did not stop.", "But {name} only made more noise."),
            (
                "{friend} stood there with both hands over the ears.",
                "{friend} came out with red eyes and did not know what to do.",
            ),
        ),
        happy=(
            (
                "{name} saw how tired {friend} was and put the {thing} away. "
                "{friend} slept well, and then they made soft music together."
            ),
            (
                "{name} was sorry and put a thick cloth around the {thing}. "
                "Now it was soft and sweet, and {friend} liked it very much."
            ),
            (
                '"I am sorry," said {name} at last. '
                "They took the {thing} to a far hill, where it could be as loud as they liked."
            ),
        ),
        sad=(
            (
                "{name} did it one more time, as loud as {he} could. "
                "Then the {thing} cracked and never made a sound again."
            ),
            (
                "So {friend} packed a bag and moved far away. "
                "Now {name} had the {thing}, but nobody to play with."
            ),
            (
                "{parent} was angry and took the {thing} away for good. "
                "{friend} went inside and did not speak to {name} again."
            ),
        ),
        features=("Conflict", "MoralValue"),
    ),
    Frame(
        key="hidden_treasure",
        things=("key", "coin", "ring", "marble", "medal"),
        places=("attic", "cellar", "barn", "cabin"),
        summaries=(
            "{name} the {kind} sees a shiny {thing} under the floor.",
            "{name} and {friend} try to get a small {thing} out of a crack with a long stick.",
            "a curious {kind} named {name} and a shiny {thing} in a dark crack",
            "{name} wants to reach a hidden {thing} under the old boards.",
        ),
        beginning=(
            (
                "One day, {he} and {friend} the {friend_kind} played in an old {place}.",
                "One day, {name} went to play in the old {place} of {friend} the {friend_kind}.",
            ),
            (
                "Deep in a crack of the floor, something was shining.",
                "Something shone in a crack of the floor.",
            ),
            "It was a small {thing}!",
        ),
        middle=(
            ('"We found a treasure!" said {name}.', '"How did it get in there?" asked {name}.'),
            ("But {his} arm was too short.", "But {his} hand did not fit in."),
            "{friend} got a long stick, and {name} pushed it under the {thing}.",
            ("Up it came, but then it began to slip.", "It came up a little, but then it began to slip."),
        ),
        happy=(
            (
                "{name} held the stick very still and tried again. "
                "Out came the {thing}, and {friend} let {him} keep it."
            ),
            (
                "They put some honey on the stick, and now the {thing} stuck to it. "
                "{name} held it up, and it shone like a star."
            ),
            (
                "A board came loose, and there was the {thing} on top of a whole box of gold. "
                "{name} and {friend} were rich!"
            ),
        ),
        sad=(
            "It fell deep down into the dark. {name} heard a small splash, and the {thing} was gone.",
            "{name} pulled too hard, and the stick broke. Now nobody could ever reach the {thing}.",
            (
                '"It is mine," said {friend} and began to fight with {name}. '
                "The {thing} fell into a deep hole, and nobody got it."
            ),
        ),
    ),
    Frame(
        key="bath",
        things=("toy boat", "toy ship", "toy whale", "rubber fish"),
        places=("garden", "yard", "kitchen"),
        summaries=(
            "{name} the {kind} takes a bath with a {color} {thing}.",
            "{name} and {friend} splash in the tub with a {color} {thing} until the plug comes out.",
            "a wet little {kind} named {name}, a tub full of water and a {color} {thing}",
            "The bath water pulls at the {thing} of {name}.",
        ),
        beginning=(
            (
                "It was bath day, and {friend} the {friend_kind} had a big tub in the {place}.",
                "{friend} the {friend_kind} had a big tub of warm water in the {place}.",
            ),
            (
                "{name} came for a bath and brought a {color} {thing}.",
                "{name} jumped in with a {color} {thing}.",
            ),
        ),
        middle=(
            ("They splashed and made big waves.", "They splashed and sang."),
            (
                "Then {friend} pulled out the plug by mistake.",
                "Then {name} hit the plug with one foot, and it came out.",
            ),
            "The water turned around and around.",
            "It pulled the {thing} to the dark hole.",
            ('"Save my {thing}!" shouted {name}.', '"Oh no, stop it!" shouted {name}.'),
        ),
        happy=(
            (
                "{friend} put one foot on the hole just in time. "
                "The {thing} was safe, and {name} filled the tub again."
            ),
            (
                "The {thing} was too big for the hole. "
                "It sat there safe and sound, and {name} gave it a wet kiss."
            ),
            (
                "{name} dived down and got the {thing} with both hands. "
                "They dried it with a towel and drank hot cocoa."
            ),
        ),
        sad=(
            "With a loud gurgle, the {thing} went down the hole. {name} could not get it out again.",
            (
                "They both pulled at it, but it was stuck. "
                "The {thing} broke in two, and {name} could never play with it again."
            ),
            "{name} reached for it, but the water was faster. The {thing} was gone, on its way to the sea.",
        ),
        features=("Conflict",),
    ),
    Frame(
        key="night_noise",
        things=("monster", "ghost", "dragon", "giant", "troll"),
        places=("bed", "window", "stairs", "floor"),
        summaries=(
            "{name} the {kind} hears a noise in bed and thinks of a big {thing}.",
            "{name} sleeps at the house of {friend} and is afraid of a big {thing}.",
            "a sleepy {kind} named {name}, a knock in the night and the fear of a big {thing}",
            "{name} hears a knock at bedtime and thinks that it is a big {thing}.",
        ),
        beginning=(
            (
                "One night, {name} slept at the house of {friend} the {friend_kind}.",
                "One day, {friend} the {friend_kind} asked {name} to stay for the night.",
            ),
            (
                "The moon was up, and it was time for bed.",
                "They brushed their teeth, went to bed and turned off the light.",
            ),
        ),
        middle=(
            (
                "Then something went knock, knock under the {place}.",
                "All was still, but then came a knock from under the {place}.",
            ),
            (
                '"It must be a big {thing}!" whispered {name}.',
                '"I hear a big {thing}," said {name} in a small voice.',
            ),
            (
                "{friend} was scared too and hid under the blanket.",
                "{friend} heard it too and held on to {him}.",
            ),
            ("Knock, knock, it went again.", "The noise came again, and it was louder."),
        ),
        happy=(
            (
                "{name} was brave and went to look. There was no {thing}, only a tiny hedgehog, "
                "and in the morning they all had breakfast together."
            ),
            (
                "{friend} turned on the light. It was not a big {thing}, only a ball that rolled around, "
                "and {name} slept well until morning."
            ),
            (
                "They heard a giggle. It was no {thing}, but {parent}, "
                "who had played a trick and now told {name} and {friend} a story."
            ),
        ),
        sad=(
            (
                "{name} was too afraid of the {thing} to stay. "
                "{He} left in the middle of the night and did not even say goodbye."
            ),
            (
                "All night long, {name} thought of the {thing} and could not sleep. "
                "They called for help, but nobody came."
            ),
            (
                "{friend} began to cry because of the {thing}. "
                "From then on, {friend} never asked {name} to stay for the night again."
            ),
        ),
        features=("Twist",),
    ),
)
