"""Story frames about other people: friends, school and town."""

from samples.words import Frame

FRAMES = (
    Frame(
        key="first_day",
        things=("bag", "pencil box", "lunch box", "water bottle"),
        places=("hall", "yard", "classroom", "library"),
        summaries=(
            "{name} the {kind} loses a new {color} {thing} on the first day at school.",
            "{name} meets {friend} on the first day at school, but then a {color} {thing} is gone.",
            "a little {kind} named {name}, a new {thing} and the first day at school",
            "{name} takes a new {thing} to school.",
        ),
        beginning=(
            (
                "It was {his} first day at school, and {parent} gave {him} a new {color} {thing}.",
                "{He} went to school for the first time with a new {color} {thing}.",
            ),
            (
                "In the {place}, {he} sat next to {friend} the {friend_kind}.",
                "{He} met {friend} the {friend_kind} in the {place}.",
            ),
        ),
        middle=(
            (
                "Then the bell rang, and everyone ran around.",
                "A loud bell rang, and all the children got up.",
            ),
            (
                "{name} looked down, and the {thing} was not there.",
                "When it was quiet again, the {thing} was gone.",
            ),
            ('"Where is my new {thing}?" asked {name}.', '"I cannot find my {thing}," {name} said softly.'),
            ("The school was so big, and {he} felt very little.", "{He} did not know where to look."),
        ),
        happy=(
            (
                "{friend} looked under every bench and found the {thing}. {name} hugged {friend}, and the "
                "two sat together all day."
            ),
            (
                "The kind teacher had put the {thing} on a shelf. She gave it back, and {name} was not "
                "afraid of school any more."
            ),
            (
                "A big girl had picked up the {thing} and was looking for {name}. She gave it back, and they "
                "all played together."
            ),
        ),
        sad=(
            (
                "They looked for the {thing} in every room, but nobody had seen it. It was gone, and {name} "
                "did not like school at all."
            ),
            (
                "The {thing} lay by the door, but many feet had stepped on it. It was broken, and {name} "
                "could not use it."
            ),
            (
                "Someone had taken the {thing} and did not give it back. {name} sat alone until it was time "
                "to go home."
            ),
        ),
    ),
    Frame(
        key="race_prize",
        things=("medal", "cup", "ribbon", "trophy"),
        places=("lake", "pond", "field", "village"),
        summaries=(
            "{name} the {kind} runs in a big race to win a shiny {thing}.",
            "{friend} falls in the race for the {thing}, and {name} stops to help.",
            "a fast little {kind} named {name} and a race for a shiny {thing}",
            "{name} wants to win the {thing} in a race.",
        ),
        beginning=(
            (
                "One morning, there was a big race around the {place}.",
                "One sunny day, everyone came to run a race around the {place}.",
            ),
            (
                "The prize was a shiny {thing}, and {name} wanted it very much.",
                "The winner would get a shiny {thing}, and {name} dreamed of it.",
            ),
            ("{friend} the {friend_kind} ran too.", "{friend} the {friend_kind} was in the race too."),
        ),
        middle=(
            ('"One, two, three, go!" called {parent}.', '"Get ready and run!" shouted {parent}.'),
            ("{name} ran as fast as {he} could.", "{name} was very fast and ran in front."),
            ("But near the end, {friend} fell over a stone.", "Then {friend} fell down and hurt a knee."),
            (
                "{name} saw the {thing} ahead, but {he} stopped to help {friend}.",
                "The {thing} was so close, but {name} turned back to help {friend}.",
            ),
        ),
        happy=(
            (
                "{name} and {friend} walked over the line hand in hand. Everyone clapped, and they won the "
                "{thing} together."
            ),
            "Everyone saw how kind {name} was. They gave {him} the {thing} and cheered.",
            (
                "{friend} got up, and {name} was still the first over the line. {He} won the {thing} and let "
                "{friend} hold it too."
            ),
        ),
        sad=(
            "All the others ran past them. Someone else won the {thing}, and nobody clapped for {name}.",
            (
                "{name} tried to run again, but {his} legs were too tired. {He} was the last one, and the "
                "{thing} was gone."
            ),
            (
                "When {he} came to the line at last, the race was over. The {thing} was gone, and everyone "
                "had left."
            ),
        ),
        features=("MoralValue",),
    ),
    Frame(
        key="new_neighbor",
        things=("pie", "cake", "flower pot", "plant"),
        places=("lake", "bridge", "forest", "road"),
        summaries=(
            "{name} the {kind} takes a small {thing} to a shy new neighbor.",
            "{friend} is new and shy, so {name} knocks on the door with a small {thing}.",
            "a kind {kind} named {name} and a small {thing} for a new neighbor",
            "{name} has a welcome gift, a small {thing}.",
        ),
        beginning=(
            (
                "One day, {friend} the {friend_kind} came to the house by the {place} as a new neighbor.",
                "{friend} the {friend_kind} was a new neighbor in the house by the {place}.",
            ),
            ("{friend} was very shy and never came out.", "{friend} was shy and hid inside all day."),
            (
                "So {name} took a small {thing} there as a gift.",
                "So {name} came with a small {thing} as a gift.",
            ),
        ),
        middle=(
            ("{He} knocked on the door three times.", "{He} went up to the door and knocked."),
            (
                '"Hello! This {thing} is for you!" {he} called.',
                '"Please come out! I have a gift!" said {name}.',
            ),
            ("But the door stayed shut.", "No one answered."),
            ("Only the curtain moved a little.", "Two scared eyes looked out of the window."),
        ),
        happy=(
            (
                "{name} put the {thing} down and sang a song. The door opened, and {friend} came out with a "
                "shy smile."
            ),
            (
                'At last the door opened. "Is it really for me?" asked {friend}. {name} nodded, and {friend} '
                "took the {thing} and laughed."
            ),
            (
                "{name} waited on the step until {friend} came out. {friend} loved the {thing}, and the two "
                "played until dark."
            ),
        ),
        sad=(
            "{name} waited until dark, but {friend} did not come. {He} had to take the {thing} home again.",
            "{name} left the {thing} on the step. The next day it still lay there, and {friend} was gone.",
            (
                "The {thing} fell from {his} hands onto the hard stones. It was ruined, and {name} "
                "never saw the door open."
            ),
        ),
    ),
    Frame(
        key="stage_show",
        things=("hat", "mask", "cape", "crown"),
        places=("town hall", "school", "park", "barn"),
        summaries=(
            (
                "{name} the {kind} is going to dance on a stage, but the {color} {thing} for the dance is "
                "missing."
            ),
            "It is time for the show of {name} and {friend}, but the {thing} is not there.",
            "a dancing {kind} named {name}, a show and a {color} {thing}",
            "{name} needs the {thing} for a dance on the stage.",
        ),
        beginning=(
            (
                "There was going to be a show in the {place}, and {name} wanted to dance on the stage.",
                "{name} loved to dance, and soon there was a show on the stage in the {place}.",
            ),
            ("{friend} the {friend_kind} would sing.", "{friend} the {friend_kind} would play the music."),
            (
                "For the dance, {name} had a {color} {thing}.",
                "{parent} made a {color} {thing} for the dance.",
            ),
        ),
        middle=(
            ("The evening came, and all the seats were full.", "On the big day, many people came to watch."),
            ("But where was the {thing}?", "But the {thing} was not in its box."),
            (
                '"I cannot dance without my {thing}!" cried {name}.',
                '"Oh no! I need my {thing}!" said {name}.',
            ),
            ("The show was about to start.", "It was almost time to begin."),
        ),
        happy=(
            (
                "{friend} ran off and came back with the {thing} just in time. {name} danced, and everyone "
                "clapped."
            ),
            (
                "The {thing} had only fallen behind a chair. {friend} pulled it out, and {name} danced "
                "better than ever."
            ),
            "{parent} came running with the {thing}. {name} put it on and danced like a star.",
        ),
        sad=(
            (
                "They could not find the {thing}. The others went on stage, and {name} sat behind the "
                "curtain and did not dance."
            ),
            (
                "The {thing} was on a chair, and a big man had sat on it. It was ruined, and {name} missed "
                "the show."
            ),
            (
                "{name} danced without the {thing} and forgot every step. Some people laughed, and {he} ran "
                "away."
            ),
        ),
    ),
    Frame(
        key="left_on_train",
        things=("umbrella", "suitcase", "basket", "jacket"),
        places=("train", "bus", "boat", "tram"),
        summaries=(
            "{name} the {kind} gets off the {place} and leaves a {color} {thing} on the seat.",
            "On a ride with {friend}, {name} forgets a {color} {thing} on the seat.",
            "a little {kind} named {name}, a ride on the {place} and a {color} {thing} on the seat",
            "{name} leaves the {thing} behind on a ride.",
        ),
        beginning=(
            (
                "One day, {name} and {friend} the {friend_kind} took the {place} to visit {parent}.",
                "{name} went on the {place} with {friend} the {friend_kind} to visit {parent}.",
            ),
            (
                "{He} put {his} {color} {thing} on the seat and looked out of the window.",
                "{His} {color} {thing} was on the seat, and they sang songs on the way.",
            ),
        ),
        middle=(
            ("Soon it was time to get off, and they jumped out.", "At their stop, they got off and waved."),
            (
                "Only then did {name} see that {his} hands were empty.",
                "But something was missing, and {name} stopped.",
            ),
            (
                '"My {thing} is still on the seat!" {he} cried.',
                '"Stop! I left my {thing} on the seat!" {he} yelled.',
            ),
            ("But the {place} was already moving.", "The {place} began to go, faster and faster."),
        ),
        happy=(
            "The driver heard {him} and stopped. {name} ran back, took the {thing} and thanked the driver.",
            (
                "An old lady saw the {thing} and dropped it out of the window. {friend} caught it and gave "
                "it to {name}."
            ),
            (
                "They waited until the {place} came back. The driver had kept the {thing} safe, and {name} "
                "got it back."
            ),
        ),
        sad=(
            "It grew smaller and smaller until {name} could not see it. The {thing} was gone for good.",
            (
                "{name} waited all day until the {place} came back. The seat was empty, and nobody had seen "
                "the {thing}."
            ),
            (
                "{name} ran after it and fell down hard. Nobody heard {him}, and {he} never got the {thing} "
                "back."
            ),
        ),
    ),
    Frame(
        key="own_coin",
        things=("whistle", "pinwheel", "marble", "toy horse", "bell"),
        places=("market", "fair", "shop", "toy store"),
        summaries=(
            "{name} the {kind} has one coin for a {color} {thing}, but there is a hole in the pocket.",
            "{name} loses a coin before {he} can buy the {thing} at the {place}.",
            "a little {kind} named {name}, a lost coin and a {color} {thing}",
            "{name} and {friend} want to buy the {thing}.",
        ),
        beginning=(
            (
                "{parent} gave {him} one coin, and {he} put it in {his} pocket.",
                "{He} had one coin of {his} own and kept it in {his} pocket.",
            ),
            (
                "At the {place}, {name} and {friend} the {friend_kind} saw a {color} {thing}.",
                "{He} went with {friend} the {friend_kind} to buy a {color} {thing} at the {place}.",
            ),
        ),
        middle=(
            (
                "{name} felt in {his} pocket, but there was only a hole in it.",
                "But when {name} wanted to pay, there was a hole in {his} pocket.",
            ),
            ("The coin had fallen out!", "The coin was lost!"),
            ('"No coin, no {thing}," said the man.', '"You must pay for the {thing} first," said the man.'),
            ("They looked for the coin on the ground.", "They went back and looked for the coin."),
        ),
        happy=(
            (
                "{friend} saw something shine under a table. It was the coin, and soon {name} held the "
                "{thing} in {his} hands."
            ),
            (
                '"Sweep the floor, and the {thing} is yours," the man said with a smile. {name} swept it '
                "clean and got the {thing}."
            ),
            (
                "{friend} had a coin too and gave it to {name}. They bought the {thing} and played with it "
                "together."
            ),
        ),
        sad=(
            (
                "They looked until it was dark, but the coin was gone. The man locked the {thing} away, and "
                "{name} got nothing."
            ),
            "A tall girl came and bought the {thing}. It was the last one, and {name} had to watch her go.",
            (
                "The coin had rolled down into a deep hole. {name} could not reach it and had to leave the "
                "{thing} behind."
            ),
        ),
    ),
    Frame(
        key="whose_turn",
        things=("truck", "wagon", "tractor", "race car"),
        places=("garden", "yard", "park", "playroom"),
        summaries=(
            "{name} the {kind} and {friend} fight over a new {color} {thing}.",
            "Two friends both want the same {thing}, and {name} does not let go.",
            "an angry little {kind} named {name} and a {color} {thing} to share",
            "{name} and {friend} pull at the {thing}.",
        ),
        beginning=(
            (
                "One morning, there was a new toy in the {place}, a {color} {thing}.",
                "{parent} put a new toy in the {place}, a big {color} {thing}.",
            ),
            (
                "{name} ran to it, but {friend} the {friend_kind} was there just as fast.",
                "{name} wanted to play with it, and {friend} the {friend_kind} wanted it too.",
            ),
        ),
        middle=(
            ('"It is my turn with the {thing}!" cried {name}.', '"Let go! I want the {thing}!" said {name}.'),
            ('"No, I was first!" shouted {friend}.', '"No, it is mine!" {friend} said.'),
            (
                "{name} pulled on one side, and {friend} pulled on the other.",
                "They pushed and pulled, and each of them held on.",
            ),
            ("They were both very angry.", "Nobody wanted to share."),
        ),
        happy=(
            "{name} let go and said sorry. They took turns with the {thing} and had more fun than before.",
            (
                "All at once, {friend} began to laugh, and {name} laughed too. They played with the {thing} "
                "together until dark."
            ),
            (
                "{name} had a good idea and counted to ten for each turn. They shared the {thing} and "
                "were friends again."
            ),
        ),
        sad=(
            (
                "Crack! The {thing} broke in two. {friend} ran off and did not want to be friends with "
                "{name} any more."
            ),
            (
                "They pulled so hard that a wheel came off. The {thing} could not be fixed, and {name} had "
                "no one to play with."
            ),
            (
                "{friend} let go, and {name} fell down with the {thing} and hurt {his} leg. {friend} went "
                "away and never came back to play."
            ),
        ),
        features=("Conflict",),
    ),
    Frame(
        key="moving_away",
        things=("bracelet", "necklace", "shell", "music box"),
        places=("station", "harbor", "bus stop"),
        summaries=(
            (
                "{name} the {kind} runs to the {place} with a small {thing} because a best friend is moving "
                "away."
            ),
            "{friend} has to move far away, and {name} wants to give {friend} a pretty {thing}.",
            "a little {kind} named {name}, a goodbye and a small {thing}",
            "{name} has a goodbye gift, a pretty {thing}.",
        ),
        beginning=(
            (
                "{His} best friend was {friend} the {friend_kind}, but {friend} had to move far away.",
                "{friend} the {friend_kind} was {his} best friend, but {friend} had to move far away.",
            ),
            (
                "{name} chose a small, pretty {thing} as a goodbye gift.",
                "For a goodbye gift, {name} picked a small and pretty {thing}.",
            ),
        ),
        middle=(
            ("But the next morning, {name} woke up late.", "On the last day, {name} slept too long."),
            (
                "{He} ran all the way to the {place} with the {thing} in {his} hand.",
                "{He} held the {thing} tight and ran to the {place}.",
            ),
            (
                '"Please do not go yet, {friend}!" {he} called.',
                '"Wait, {friend}! I have a gift!" {he} called.',
            ),
            ("From far away, {he} heard a loud horn.", "A horn blew, and people said goodbye."),
        ),
        happy=(
            (
                "{friend} was still there and loved the {thing}. There was a free seat, and {name} could "
                "come along for the summer."
            ),
            (
                '"We can stay here after all!" cried {friend}. {name} still gave {friend} the {thing}, and '
                "they went home hand in hand."
            ),
            (
                "{name} came just in time. {friend} held the {thing} tight and promised to come back and "
                "play every week."
            ),
        ),
        sad=(
            (
                "{friend} was already gone when {he} got there. {name} stood alone with the {thing} in "
                "{his} hand."
            ),
            "{name} fell, and the {thing} broke on the hard road. When {he} got up, {friend} was gone.",
            (
                "{friend} took the {thing} and waved one last time. Then {friend} was gone, and {name} had "
                "no one to play with."
            ),
        ),
    ),
    Frame(
        key="borrowed",
        things=("drum", "flute", "guitar", "trumpet", "violin"),
        places=("forest", "meadow", "park", "garden"),
        summaries=(
            "{name} the {kind} borrows a {color} {thing} and must give it back.",
            "{friend} lends {name} a {color} {thing} for one day, and then it is missing.",
            "a little {kind} named {name} and a borrowed {thing}",
            "{name} borrows the {thing} and cannot see it any more.",
        ),
        beginning=(
            (
                "{friend} the {friend_kind} had a fine {color} {thing}, and {name} wanted to play it.",
                "{name} wanted to make music, and {friend} the {friend_kind} had a {color} {thing}.",
            ),
            (
                '"You may borrow it, but bring it back tonight," said {friend}.',
                '"Take it for one day, but please give it back," {friend} said.',
            ),
        ),
        middle=(
            (
                "{name} played the {thing} in the {place} until {he} was tired.",
                "All day, {name} made music in the {place} with the {thing}.",
            ),
            (
                "{He} put it down in the grass and fell asleep.",
                "Then {he} left it under a tree and ran after a butterfly.",
            ),
            (
                "When {he} looked for the {thing}, it was not there.",
                "Later, {he} could not see the {thing} anywhere.",
            ),
            ("{name} had promised to give it back.", "{name} thought of {his} promise."),
        ),
        happy=(
            (
                "{He} went and told {friend} the truth. They looked together, found the {thing} behind a "
                "bush, and {friend} was not angry."
            ),
            (
                "{He} heard music. A little child had found the {thing}, and {name} could bring it back "
                "to {friend} that night."
            ),
            (
                "{name} looked in every corner and found the {thing} in the tall grass. {He} kept the "
                "promise, and {friend} was glad."
            ),
        ),
        sad=(
            (
                "{He} looked until night but did not find the {thing}. {friend} was very angry and never "
                "lent {name} anything again."
            ),
            (
                "{He} found the {thing} on the road. A cart had rolled over it, and {name} had to bring "
                "{friend} the broken pieces."
            ),
            (
                "{name} was too afraid to tell the truth and hid from {friend}. The {thing} stayed lost, and "
                "they were not friends any more."
            ),
        ),
        features=("MoralValue",),
    ),
    Frame(
        key="fib",
        things=("cookie", "cupcake", "muffin", "donut", "peach"),
        places=("kitchen", "garden", "classroom", "hall"),
        summaries=(
            "{name} the {kind} eats the {thing} of a friend and tells a lie about it.",
            "{friend} asks who ate the big {thing}, and {name} does not tell the truth.",
            "a hungry little {kind} named {name}, a big {thing} and a lie",
            "{name} takes the {thing} and lies.",
        ),
        beginning=(
            (
                "{friend} the {friend_kind} left a big {thing} on the table in the {place}.",
                "There was a big {thing} in the {place}, and it was for {friend} the {friend_kind}.",
            ),
            ("It smelled so sweet, and {name} was hungry.", "{name} looked at it, and it looked so good."),
            ("Nobody was there, so {he} ate it all up.", "{He} took a bite, and then {he} ate it all."),
        ),
        middle=(
            ('"Who ate my {thing}?" asked {friend}.', '"Did you eat my {thing}, {name}?" asked {friend}.'),
            ('"I did not eat it!" said {name}.', '"It was not me!" {name} said.'),
            ("It was a lie, and {his} face grew hot.", "That was not true, and {his} tummy felt bad."),
            ("{friend} looked at the empty plate.", "{friend} did not say a word."),
        ),
        happy=(
            (
                "{name} told the truth and said sorry. {friend} was not angry any more, and they got a "
                "new {thing} and shared it."
            ),
            (
                "{name} ran off and came back with a new {thing} for {friend}. {He} told the truth, and "
                "{friend} gave {him} a hug."
            ),
            (
                '"I am sorry, I ate the {thing}," {name} said at last. {friend} thanked {him} for telling '
                "the truth, and they were friends again."
            ),
        ),
        sad=(
            (
                "There was a bit of the {thing} on {his} face. {friend} saw the lie and did not want to "
                "play with {name} any more."
            ),
            "{name} told the same lie again and again. {friend} cried about the {thing} and went away.",
            (
                "{parent} said that {name} had eaten the {thing}. From that day on, {friend} did not "
                "believe {name} any more."
            ),
        ),
        features=("MoralValue",),
    ),
    Frame(
        key="party_in_the_dark",
        things=("lantern", "lamp", "torch", "flashlight", "candle"),
        places=("forest", "park", "field", "meadow"),
        summaries=(
            "{name} the {kind} walks through the dark {place} to a party when the {thing} goes out.",
            "{friend} has a party at night, and {name} takes a {color} {thing} to see the path.",
            "a little {kind} named {name}, a night party and a {color} {thing}",
            "The {thing} of {name} goes out on the way to a party.",
        ),
        beginning=(
            (
                "{friend} the {friend_kind} had a birthday party that night, and {name} was invited.",
                "A letter came from {friend} the {friend_kind} and asked {him} to a party that night.",
            ),
            (
                "{He} took a {color} {thing} to see the path through the dark {place}.",
                "The path through the {place} was dark, so {parent} gave {him} a {color} {thing}.",
            ),
        ),
        middle=(
            (
                "But halfway there, the {thing} went out.",
                "But then the light of the {thing} grew weak and went out.",
            ),
            ("Now it was black all around.", "It was so dark that {he} could not see {his} feet."),
            ('"Where is the path?" {name} cried.', '"I cannot see the path!" said {name}.'),
            ("Far away, {he} could hear music.", "Somewhere, {he} heard the others sing."),
        ),
        happy=(
            (
                "{friend} came along the path to look for {name}. The {thing} was soon bright again, "
                "and they walked to the party together."
            ),
            (
                "Some fireflies saw {name} and sat down on the {thing}. It glowed again, and {he} came to "
                "the party in time for cake."
            ),
            (
                "{name} tried once more, and the {thing} shone again. {He} found the party, and {friend} "
                "gave {him} the best seat."
            ),
        ),
        sad=(
            (
                "{name} walked around in the dark and lost the {thing} too. When {he} found the house, the "
                "party was over."
            ),
            (
                "{He} called and called, but the music was too loud. Nobody came, and {name} sat by the dark "
                "{thing} all night."
            ),
            (
                "{name} fell into a hole, and the {thing} broke. {He} had to turn back and missed the whole "
                "party."
            ),
        ),
    ),
    Frame(
        key="sick_friend",
        things=("blanket", "quilt", "sweater", "scarf", "shawl"),
        places=("hill", "field", "meadow", "bridge"),
        summaries=(
            "{name} the {kind} takes a warm {thing} through the snow to a sick friend.",
            "{friend} is sick and cold, so {name} walks over the {place} with a {color} {thing}.",
            "a good little {kind} named {name}, a sick friend and a warm {color} {thing}",
            "{name} brings a warm {thing} to {friend}.",
        ),
        beginning=(
            (
                "One winter day, {friend} the {friend_kind} was sick in bed and felt very cold.",
                "It was winter, and {friend} the {friend_kind} was sick and could not get warm.",
            ),
            (
                "{name} took a warm {color} {thing} and went over the {place} to help.",
                "So {name} went over the {place} to bring a warm {color} {thing}.",
            ),
        ),
        middle=(
            ("Snow began to fall, more and more.", "The snow fell thick and fast."),
            ("It was hard to walk, and {his} feet hurt.", "{name} could not see the house any more."),
            (
                '"I must bring the {thing} to {friend}!" said {name}.',
                '"{friend} needs this {thing}," {he} said.',
            ),
            ("The cold wind blew in {his} face.", "The wind pulled at the {thing}."),
        ),
        happy=(
            (
                "{name} walked on and came to the house. {friend} got the {thing}, slept all night and was "
                "well the next day."
            ),
            (
                "{He} saw a light and knocked at the door. {friend} was soon warm in the {thing}, and "
                "the two drank hot milk and laughed."
            ),
            (
                "{parent} came with a sled and took {name} there. The {thing} made {friend} warm, and in the "
                "morning {friend} could play again."
            ),
        ),
        sad=(
            (
                "The wind tore the {thing} away, and {name} could not find it in the snow. {friend} stayed "
                "cold and sick."
            ),
            (
                "The snow was too deep, and {name} had to turn back. {friend} waited for the {thing}, but "
                "nobody came."
            ),
            (
                "When {he} got there, the bed was empty. {friend} had been taken far away, and {name} still "
                "held the {thing}."
            ),
        ),
    ),
    Frame(
        key="hide_and_seek",
        things=("ring", "key", "pearl", "watch", "locket"),
        places=("barn", "attic", "shed", "cellar"),
        summaries=(
            "{name} the {kind} plays hide and seek with a {color} {thing} in the pocket.",
            "{name} plays hide and seek with {friend}, and then the {thing} is not in the pocket.",
            "a playful {kind} named {name}, a game of hide and seek and a {color} {thing}",
            "{name} hides with the {thing} of {parent}.",
        ),
        beginning=(
            (
                "{parent} let {him} carry a {color} {thing} in {his} pocket.",
                "In {his} pocket {he} had a {color} {thing} from {parent}.",
            ),
            ('"Take good care of it," {parent} said.', '"Do not lose it," said {parent}.'),
            (
                "Then {name} played hide and seek with {friend} the {friend_kind} in the {place}.",
                "{name} and {friend} the {friend_kind} went to play hide and seek in the {place}.",
            ),
        ),
        middle=(
            (
                "{friend} counted, and {name} crept under some old boxes.",
                "{name} hid behind a pile of old bags.",
            ),
            ('"I found you!" {friend} laughed.', '"There you are!" cried {friend}.'),
            ("{name} came out and put a hand in {his} pocket.", "{name} jumped up and felt in {his} pocket."),
            ("It was empty.", "There was nothing in it."),
        ),
        happy=(
            (
                "{friend} crept under everything and came out with dust on the nose and the {thing} in one "
                "hand. {name} put it safely away."
            ),
            (
                "The sun came in, and something shone on the floor. It was the {thing}, and {name} "
                "picked it up."
            ),
            (
                "{name} took off {his} shoe and looked inside. There was the {thing}, and they both had to "
                "laugh."
            ),
        ),
        sad=(
            (
                "They looked under every box until dark, but they did not find the {thing}. {name} had to "
                "tell {parent} that it was lost."
            ),
            (
                "The {thing} had slipped into a deep crack in the floor. Nobody could get it out, and {name} "
                "never saw it again."
            ),
            "A rat ran off with the {thing} in its teeth. It was too fast, and {name} could not get it back.",
        ),
        features=("Foreshadowing",),
    ),
    Frame(
        key="message",
        things=("bottle", "jar", "wooden box", "tin can"),
        places=("river", "lake", "beach", "sea"),
        summaries=(
            "{name} the {kind} puts a letter in a small {thing} and sends it over the water.",
            "At the {place}, {name} and {friend} send off a letter in a small {thing}.",
            "a little {kind} named {name} and a letter in a small {thing}",
            "{name} waits for an answer to the letter in the {thing}.",
        ),
        beginning=(
            ("{name} wished for a friend far away.", "{name} wanted to know who lived over the water."),
            (
                "So {he} wrote a letter and put it in a small {thing}.",
                "{He} wrote a letter and closed it up in a small {thing}.",
            ),
            (
                "At the {place}, {friend} the {friend_kind} helped {him} send it off.",
                "At the {place}, {he} and {friend} the {friend_kind} set it on the water.",
            ),
        ),
        middle=(
            (
                '"Swim well, little {thing}!" called {name}.',
                '"Find someone nice, little {thing}!" {name} said.',
            ),
            ("It danced on the waves and was gone.", "Soon it was only a dot on the water."),
            (
                "Every day, {name} went there to look for an answer.",
                "Every morning, {name} waited there for an answer.",
            ),
            ("Many days went by.", "Weeks went by."),
        ),
        happy=(
            (
                "One day, the {thing} came back with a new letter in it. Now {name} had a new friend, and "
                "{friend} read the letter aloud."
            ),
            (
                "A boat came, and a girl held up the {thing}. She had read the letter and wanted to "
                "play with {name}."
            ),
            (
                "At last a kind old turtle brought the {thing} back. There was a letter in it, and {name} "
                "had a new friend."
            ),
        ),
        sad=(
            "The {thing} had hit a rock and sunk. Nobody read the letter, and no answer came for {name}.",
            "The waves brought the {thing} back. {name} opened it, but it was only {his} own wet letter.",
            "Winter came, and ice lay on the water. The {thing} was lost, and nobody ever wrote to {name}.",
        ),
    ),
    Frame(
        key="bully",
        things=("ball", "hoop", "jump rope", "frisbee"),
        places=("park", "yard", "field", "schoolyard"),
        summaries=(
            "A big wolf takes the {color} {thing} away from {name} the {kind}.",
            "{name} and {friend} want the {thing} back from a big, strong wolf.",
            "a brave little {kind} named {name}, a mean wolf and a {color} {thing}",
            "A mean wolf has the {thing} of {name}.",
        ),
        beginning=(
            (
                "{name} and {friend} the {friend_kind} played with a {color} {thing} in the {place}.",
                "{He} was in the {place} with {friend} the {friend_kind}, and they had a {color} {thing}.",
            ),
            ("They were having a lot of fun.", "They played and laughed all morning."),
        ),
        middle=(
            ("Then a big, strong wolf came along.", "Then a big, strong wolf came and pushed them."),
            ("He took the {thing} and held it up high.", "He pulled the {thing} away and laughed at them."),
            (
                '"This {thing} is mine now!" the wolf said.',
                '"You are too small for this {thing}!" said the wolf.',
            ),
            (
                '"Please give it back," said {name} and looked up at him.',
                '"It is not yours!" {name} said, and {his} knees shook.',
            ),
        ),
        happy=(
            (
                '"You can play with us if you give it back," said {name}. The wolf put down the {thing}, and '
                "they all played together."
            ),
            (
                "{friend} called all the children, and they stood next to {name}. The wolf put the {thing} "
                "down and said sorry."
            ),
            (
                "The wolf looked at {name} and felt bad. He gave the {thing} back, and from that day on he "
                "was their friend."
            ),
        ),
        sad=(
            "The wolf only laughed and ran off with the {thing}. {name} never got it back.",
            (
                "The wolf broke the {thing} and threw it in the mud. {name} picked up the pieces, and no one "
                "came to help."
            ),
            "{friend} was afraid and ran away. {name} was all alone, and the wolf kept the {thing}.",
        ),
        features=("Conflict",),
    ),
    Frame(
        key="learn_to_ride",
        things=("bike", "scooter", "skateboard", "tricycle"),
        places=("street", "road", "square", "path"),
        summaries=(
            "{name} the {kind} teaches {friend} to ride a {color} {thing}.",
            "{friend} cannot ride yet, so {name} helps with the {thing} and then lets go.",
            "a helpful little {kind} named {name}, a first ride and a {color} {thing}",
            "{name} shows a friend how to ride the {thing}.",
        ),
        beginning=(
            (
                "{He} had a {color} {thing} and could ride it very well.",
                "{He} loved to ride {his} {color} {thing}.",
            ),
            (
                "{friend} the {friend_kind} could not ride yet and wanted to learn.",
                "{friend} the {friend_kind} watched and wished to ride it too.",
            ),
            (
                "So the two went out on the {place} to practice.",
                "So {name} gave {friend} a lesson on the {place}.",
            ),
        ),
        middle=(
            ('"What if I fall?" asked {friend}.', '"I am afraid to fall," said {friend}.'),
            ('"I will hold you," said {name}.', '"Just look ahead," {name} said.'),
            (
                "{name} held on and ran along, and {friend} wobbled left and right.",
                "{friend} got on the {thing}, and {name} pushed from behind.",
            ),
            (
                "Then {name} let go, and the {thing} went faster and faster.",
                "At the count of three, {name} let go.",
            ),
        ),
        happy=(
            (
                "{friend} did not fall and rode the {thing} all the way around the corner. {name} clapped "
                "and cheered."
            ),
            (
                "The {thing} shook a little, but {friend} stayed on. {name} was so proud, and they took "
                "turns until evening."
            ),
            (
                "{friend} rode right into a soft bush and laughed. On the next try, {friend} rode the "
                "{thing} all alone, and {name} cheered."
            ),
        ),
        sad=(
            (
                "{friend} fell down hard and began to cry. {friend} ran home and never wanted to see {name} "
                "or the {thing} again."
            ),
            "The {thing} hit a wall and broke in two. {friend} was hurt, and {name} could not ride any more.",
            (
                "{friend} jumped off, and the {thing} rolled into a deep pond. It sank, and {name} had "
                "nothing to ride."
            ),
        ),
    ),
)
