//! Names, things and places of the English stories.

/// Names of the pre-training stories; their number and order are part of every recipe's bits.
pub(crate) const NAMES: [&str; 12] =
    ["Ada", "Ben", "Chidi", "Dara", "Elif", "Femi", "Goro", "Hana", "Ivo", "Juno", "Kofi", "Lena"];
/// What the pre-training stories count; likewise.
pub(crate) const THINGS: [&str; 12] =
    ["apples", "books", "candles", "cups", "eggs", "keys", "lamps", "nuts", "pens", "shells", "stamps", "stones"];

/// First names of women.
pub(crate) const WOMEN: [&str; 44] = [
    "Ada", "Alice", "Amina", "Anna", "Carol", "Carmen", "Chloe", "Dara", "Elena", "Elif", "Emma", "Eva", "Fatima",
    "Grace", "Hana", "Ines", "Ivy", "Jane", "Julia", "Kate", "Keiko", "Laura", "Leila", "Lena", "Lucy", "Maria",
    "Mary", "Mei", "Mia", "Nadia", "Nina", "Nora", "Olga", "Priya", "Rosa", "Ruth", "Sara", "Sofia", "Susan", "Tanya",
    "Uma", "Vera", "Yuki", "Zoe",
];
/// First names of men.
pub(crate) const MEN: [&str; 44] = [
    "Ahmed", "Ali", "Alex", "Ben", "Bob", "Carlos", "Charlie", "Chidi", "Dan", "David", "Diego", "Erik", "Femi",
    "Frank", "George", "Goro", "Hugo", "Igor", "Ivan", "Jack", "James", "John", "Jonas", "Karim", "Kofi", "Leo", "Li",
    "Luis", "Marco", "Mark", "Max", "Mike", "Nick", "Omar", "Oscar", "Paul", "Peter", "Raj", "Sam", "Tim", "Tom",
    "Victor", "Will", "Yusuf",
];
/// Who stories are about besides: women and men.
pub(super) const ANYBODY: [[&str; 5]; 2] = [
    ["my sister", "a girl", "my mum", "my aunt", "the teacher"],
    ["my brother", "a boy", "my friend", "a farmer", "my dad"],
];

/// What is eaten: one, and many.
pub(super) const FOOD: [(&str, &str); 28] = [
    ("apple", "apples"),
    ("banana", "bananas"),
    ("biscuit", "biscuits"),
    ("bun", "buns"),
    ("cake", "cakes"),
    ("candy", "candies"),
    ("carrot", "carrots"),
    ("cherry", "cherries"),
    ("chocolate", "chocolates"),
    ("cookie", "cookies"),
    ("cucumber", "cucumbers"),
    ("date", "dates"),
    ("egg", "eggs"),
    ("fig", "figs"),
    ("grape", "grapes"),
    ("lemon", "lemons"),
    ("mango", "mangoes"),
    ("melon", "melons"),
    ("muffin", "muffins"),
    ("nut", "nuts"),
    ("orange", "oranges"),
    ("peach", "peaches"),
    ("pear", "pears"),
    ("pizza", "pizzas"),
    ("plum", "plums"),
    ("potato", "potatoes"),
    ("sweet", "sweets"),
    ("tomato", "tomatoes"),
];
/// What is not.
pub(super) const GOODS: [(&str, &str); 56] = [
    ("badge", "badges"),
    ("ball", "balls"),
    ("balloon", "balloons"),
    ("basket", "baskets"),
    ("bead", "beads"),
    ("bell", "bells"),
    ("block", "blocks"),
    ("book", "books"),
    ("bottle", "bottles"),
    ("brush", "brushes"),
    ("button", "buttons"),
    ("candle", "candles"),
    ("card", "cards"),
    ("chair", "chairs"),
    ("coin", "coins"),
    ("crayon", "crayons"),
    ("cup", "cups"),
    ("doll", "dolls"),
    ("envelope", "envelopes"),
    ("feather", "feathers"),
    ("flag", "flags"),
    ("flower", "flowers"),
    ("game", "games"),
    ("glass", "glasses"),
    ("hat", "hats"),
    ("key", "keys"),
    ("kite", "kites"),
    ("lamp", "lamps"),
    ("leaf", "leaves"),
    ("letter", "letters"),
    ("magazine", "magazines"),
    ("magnet", "magnets"),
    ("map", "maps"),
    ("marble", "marbles"),
    ("mask", "masks"),
    ("medal", "medals"),
    ("notebook", "notebooks"),
    ("pen", "pens"),
    ("pencil", "pencils"),
    ("photo", "photos"),
    ("picture", "pictures"),
    ("plate", "plates"),
    ("postcard", "postcards"),
    ("puzzle", "puzzles"),
    ("ring", "rings"),
    ("rose", "roses"),
    ("ruler", "rulers"),
    ("shell", "shells"),
    ("shirt", "shirts"),
    ("spoon", "spoons"),
    ("stamp", "stamps"),
    ("sticker", "stickers"),
    ("stone", "stones"),
    ("ticket", "tickets"),
    ("toy", "toys"),
    ("tulip", "tulips"),
];
/// What is paid with.
pub(super) const MONEY: [&str; 7] = ["dollars", "euros", "coins", "rupees", "pounds", "pesos", "dollars"];
/// What things lie in: one, and many.
pub(super) const HOLDERS: [(&str, &str); 10] = [
    ("box", "boxes"),
    ("bag", "bags"),
    ("basket", "baskets"),
    ("jar", "jars"),
    ("pack", "packs"),
    ("packet", "packets"),
    ("drawer", "drawers"),
    ("crate", "crates"),
    ("plate", "plates"),
    ("pile", "piles"),
];
/// Who shares.
pub(super) const GROUPS: [(&str, &str); 8] = [
    ("child", "children"),
    ("friend", "friends"),
    ("kid", "kids"),
    ("student", "students"),
    ("person", "people"),
    ("boy", "boys"),
    ("girl", "girls"),
    ("team", "teams"),
];
/// What has so many of something by nature.
pub(super) const BODIES: [(u32, &str, &str); 8] = [
    (2, "bike", "wheels"),
    (2, "bird", "wings"),
    (3, "triangle", "sides"),
    (4, "car", "wheels"),
    (4, "chair", "legs"),
    (4, "dog", "legs"),
    (6, "ant", "legs"),
    (8, "spider", "legs"),
];
/// Who or what is where, how more come and how some go, in the present and the past.
pub(super) const PLACES: [(&str, &str, &str, &str); 24] = [
    ("birds", "on a tree", "{n} more <come~came>", "{n} <fly~flew> away"),
    ("birds", "on a wire", "{n} more <land~landed>", "{n} <fly~flew> off"),
    ("passengers", "on a bus", "{n} <get~got> on", "{n} <get~got> off"),
    ("people", "on the train", "at a station {n} <get~got> on", "at a station {n} <get~got> off"),
    ("cars", "in a car park", "{n} more <arrive~arrived>", "{n} <drive~drove> away"),
    ("fish", "in a pond", "{n} more <are~were> put in", "{n} <are~were> caught"),
    ("students", "in a class", "{n} new ones <join~joined>", "{n} <leave~left>"),
    ("children", "in the yard", "{n} more <come~came> to play", "{n} <go~went> home"),
    ("people", "in a line", "{n} more <join~joined>", "{n} <leave~left>"),
    ("ducks", "on a lake", "{n} more <swim~swam> up", "{n} <swim~swam> away"),
    ("sheep", "in a field", "{n} more <come~came>", "{n} <run~ran> away"),
    ("books", "on a shelf", "{n} <are~were> added", "{n} <are~were> taken away"),
    ("eggs", "in the fridge", "mum <puts~put> in {n} more", "{n} <are~were> eaten"),
    ("cookies", "on a plate", "{n} <are~were> added", "{n} <are~were> eaten"),
    ("apples", "on a tree", "{n} more <grow~grew>", "{n} <fall~fell> down"),
    ("frogs", "on a log", "{n} more <jump~jumped> on", "{n} <jump~jumped> off"),
    ("cows", "in a barn", "{n} more <are~were> brought in", "{n} <are~were> let out"),
    ("guests", "at a party", "{n} more <come~came>", "{n} <go~went> home"),
    ("players", "on the field", "{n} more <come~came>", "{n} <are~were> sent off"),
    ("bees", "in a garden", "{n} more <come~came>", "{n} <fly~flew> away"),
    ("monkeys", "in a tree", "{n} more <climb~climbed> up", "{n} <climb~climbed> down"),
    ("boats", "in the harbour", "{n} <come~came> in", "{n} <sail~sailed> away"),
    ("letters", "in a box", "{n} more <arrive~arrived>", "{n} <are~were> taken out"),
    ("cats", "on the roof", "{n} more <come~came>", "{n} <go~went> down"),
];
