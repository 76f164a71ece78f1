//! What fills the places of the English templates.

/// Of 26 to 40 letters.
pub(super) const LONG_WORDS: &[&str] = &[
    "antidisestablishmentarianism", "floccinaucinihilipilification", "pseudopseudohypoparathyroidism",
    "supercalifragilisticexpialidocious", "hippopotomonstrosesquippedaliophobia", "honorificabilitudinitatibus",
    "electroencephalographically", "spectrophotofluorometrically", "thyroparathyroidectomizations",
    "radioimmunoelectrophoresis", "hepaticocholangiogastrostomy", "dichlorodiphenyltrichloroethane",
];
pub(super) const THINGS: &[&str] = &[
    "computer", "phone", "car", "book", "house", "bread", "dog", "cat", "tree", "moon", "sun", "river", "mountain",
    "bridge", "bicycle", "engine", "battery", "camera", "clock", "piano", "guitar", "robot", "rocket", "train", "ship",
    "garden", "flower", "cake", "pizza", "coffee", "chair", "table", "window", "door", "wall", "lamp", "mirror",
    "shoe", "shirt", "jacket", "hat", "ring", "coin", "ticket", "letter", "newspaper", "film", "song", "school",
    "hospital", "museum", "castle", "church", "garage", "kitchen", "cup", "bottle", "knife", "hammer", "ball", "kite",
    "balloon", "planet", "star", "cloud", "island", "volcano", "desert", "forest", "ocean", "glacier", "company",
    "bank", "website", "password", "screen", "printer",
];
pub(super) const ANIMALS: &[&str] = &[
    "dog", "cat", "horse", "cow", "pig", "goat", "rabbit", "rat", "lion", "tiger", "bear", "elephant", "giraffe",
    "zebra", "monkey", "camel", "kangaroo", "panda", "whale", "dolphin", "shark", "octopus", "snail", "ant", "bee",
    "spider", "butterfly", "eagle", "owl", "parrot", "penguin", "duck", "chicken", "frog", "snake", "turtle",
    "crocodile", "dinosaur", "dragon", "hedgehog", "squirrel", "bat", "swan", "crow", "hamster", "lizard", "unicorn",
    "platypus",
];
pub(super) const PLACES: &[&str] = &[
    "France", "Germany", "Italy", "Spain", "Portugal", "Poland", "Russia", "Ukraine", "Sweden", "Norway", "Finland",
    "Denmark", "Iceland", "Ireland", "England", "Scotland", "Greece", "Turkey", "Egypt", "Morocco", "Nigeria", "Ghana",
    "Kenya", "Tanzania", "Ethiopia", "South Africa", "India", "Pakistan", "Nepal", "China", "Japan", "Korea",
    "Vietnam", "Thailand", "Indonesia", "Australia", "New Zealand", "Canada", "the USA", "America", "Mexico", "Cuba",
    "Brazil", "Argentina", "Chile", "Peru", "Colombia", "Bolivia", "Israel", "Iran", "Iraq", "Saudi Arabia",
    "Kazakhstan", "Georgia", "Mongolia", "Austria", "Switzerland", "Belgium", "Holland", "Hungary", "Romania",
    "Bulgaria", "Serbia", "Croatia", "Europe", "Africa", "Asia", "London", "Paris", "Berlin", "Rome", "Madrid",
    "Moscow", "Tokyo", "Beijing", "Delhi", "Mumbai", "Cairo", "Lagos", "Nairobi", "New York", "Chicago", "Texas",
    "California", "Toronto", "Sydney", "Istanbul", "Vienna", "Prague", "Oslo", "the world", "my city", "space",
];
pub(super) const TOPICS: &[&str] = &[
    "gravity", "photosynthesis", "black holes", "democracy", "capitalism", "communism", "the second world war",
    "the cold war", "the roman empire", "the internet", "electricity", "evolution", "dna", "climate change",
    "global warming", "inflation", "bitcoin", "blockchain", "quantum physics", "relativity", "the big bang",
    "the solar system", "dinosaurs", "vaccines", "cancer", "diabetes", "buddhism", "islam", "christianity",
    "philosophy", "psychology", "love", "friendship", "football", "chess", "jazz", "opera", "the french revolution",
    "slavery", "taxes", "divorce", "copyright", "the stock market", "artificial intelligence", "machine learning",
    "neural networks", "chatgpt", "python", "linux", "html", "the human brain", "the heart", "sleep", "dreams",
    "memory", "yoga", "the moon landing", "volcanoes", "earthquakes", "tsunamis", "the ocean", "rain", "rainbows",
    "poetry", "painting", "architecture", "cooking", "gardening", "space travel", "mars", "time travel", "aliens",
    "ghosts", "magic", "politics", "war", "peace", "money", "school", "algebra", "geometry", "pythagoras' theorem",
    "prime numbers", "trigonometry", "grammar", "the bible", "the olympics", "the world cup", "immigration",
    "human rights", "nuclear energy", "plastic", "bees", "coffee", "tea", "chocolate",
];
pub(super) const DISHES: &[&str] = &[
    "soup", "rice", "pasta", "pizza", "bread", "eggs", "an egg", "potatoes", "chicken", "fish", "curry", "pancakes",
    "a cake", "cookies", "salad", "borscht", "tea", "coffee", "beans", "steak", "sushi", "tacos", "noodles",
    "porridge", "an omelette", "bananas", "chocolate",
];
pub(super) const VERBS: &[&str] = &[
    "sleep", "eat", "drink", "run", "fly", "swim", "sing", "dance", "dream", "learn", "read", "write", "draw", "paint",
    "build", "fix", "repair", "clean", "open", "close", "break", "sell", "buy", "find", "lose", "move", "carry",
    "throw", "catch", "kick", "climb", "cook", "bake", "cut", "wash", "love", "hate", "help", "teach", "study",
    "remember", "forget", "choose", "change", "improve", "install", "download", "delete", "print", "plant", "grow",
    "feed", "train", "wear", "drive", "ride", "travel", "cry", "laugh", "lie", "smile", "hide", "fight", "win",
    "create", "destroy",
];
pub(super) const ADJECTIVES: &[&str] = &[
    "blue", "red", "green", "big", "small", "old", "new", "hot", "cold", "fast", "slow", "good", "bad", "beautiful",
    "ugly", "happy", "sad", "round", "soft", "hard", "heavy", "light", "expensive", "cheap", "dangerous", "safe",
    "clean", "dirty", "empty", "full", "famous", "brave", "clever", "lazy", "angry", "funny", "strange", "quiet",
    "loud", "dark", "bright", "sweet", "sour", "wet", "dry", "strong", "weak", "rich", "poor", "young", "tall",
    "short", "long", "broken", "free", "wild", "important", "useful",
];
pub(super) const FEELINGS: &[&str] = &[
    "sad", "happy", "tired", "hungry", "thirsty", "bored", "lonely", "angry", "sick", "ill", "scared", "afraid",
    "nervous", "in love", "confused", "stressed", "sleepy", "excited", "depressed", "worried", "busy", "late", "lost",
    "cold", "hot", "drunk", "old", "fat", "ugly", "rich", "poor", "single", "pregnant", "stupid", "jealous", "unhappy",
];
pub(super) const JOBS: &[&str] = &[
    "doctor", "teacher", "nurse", "farmer", "engineer", "programmer", "lawyer", "pilot", "baker", "cook", "driver",
    "student", "singer", "actor", "painter", "writer", "scientist", "soldier", "judge", "dentist", "plumber",
    "astronaut", "king", "poet", "pirate", "wizard", "footballer", "photographer", "banker",
];
pub(super) const PARTS: &[&str] =
    &["head", "back", "leg", "knee", "stomach", "chest", "tooth", "eye", "ear", "foot", "hand", "neck"];
pub(super) const LANGUAGES: &[&str] = &[
    "Spanish", "German", "French", "Chinese", "Italian", "Hindi", "Arabic", "Turkish", "Japanese", "Polish",
    "Portuguese", "Swahili", "Dutch", "Korean", "Greek", "Latin", "Russian", "English",
];
