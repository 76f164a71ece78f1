//! Small talk in English: the ways to say each thing, in small letters and without end marks but those that matter.

use super::{Ask, Voice};

pub(super) const VOICE: Voice = Voice {
    hellos: &[
        "hello", "hi", "hey", "hello", "hi", "hey", "hello there", "hi there", "hey there", "good morning", "good day",
        "good evening", "good afternoon", "morning", "evening", "greetings", "hiya", "howdy", "yo", "heya",
        "hello again", "hi again", "hello hello", "hii", "hiii", "heyy", "helloo", "well hello", "oh hi", "welcome",
        "hallo", "helo", "hullo", "good morning to you", "hello everyone", "hi friend", "hello my friend", "hey buddy",
        "hi bot", "hello robot", "hello computer", "dear model", "hello model", "hi dear", "hello world", "hey you",
        "sup", "salutations", "gm",
    ],
    introductions: &[
        "i am {name}", "i'm {name}", "im {name}", "my name is {name}", "my name's {name}", "call me {name}",
        "this is {name}", "{name} here", "it's {name}", "it is {name}", "you can call me {name}",
        "my friends call me {name}", "i am called {name}", "the name is {name}", "my name is {name}", "i am {name}",
        "i'm {name}", "they call me {name}", "name's {name}", "please call me {name}", "it's me, {name}",
        "my first name is {name}", "people call me {name}",
    ],
    asks: &[
        (
            Ask::Who,
            &[
                "who are you?", "what are you?", "who is this?", "who am i talking to?", "tell me about yourself",
                "introduce yourself", "who r u?", "who are u?", "what is nano?", "what is this?",
                "what exactly are you?", "so who are you?", "and you?", "and who are you?", "who is there?",
                "describe yourself", "say something about yourself", "present yourself", "what kind of model are you?",
                "what sort of thing are you?", "what is this program?", "who is nano?", "whoami",
                "what model are you?", "which model is this?", "who do i speak to?", "please introduce yourself",
                "who is it?", "tell me who you are", "i want to know who you are", "can you tell me who you are?",
                "who's this?", "about you", "what am i talking to?", "how small are you?", "how big are you?",
                "are you a small model?", "are you there?",
            ],
        ),
        (
            Ask::Name,
            &[
                "what is your name?", "what's your name?", "whats your name?", "your name?", "do you have a name?",
                "your name please", "what are you called?", "what do they call you?", "how are you called?",
                "what should i call you?", "name?", "what can i call you?", "may i know your name?",
                "tell me your name", "have you got a name?", "and your name?", "what is ur name?", "what's ur name?",
                "how do i call you?", "can you tell me your name?", "say your name", "is your name nano?",
                "are you nano?", "who named you?", "and what is your name?", "what name do you have?",
            ],
        ),
        (
            Ask::Kind,
            &[
                "are you a robot?", "are you human?", "are you a human?", "are you a person?", "are you real?",
                "are you a bot?", "are you a machine?", "are you an ai?", "are you ai?", "are you alive?",
                "are you a computer?", "are you a program?", "is this a bot?", "am i talking to a robot?",
                "am i talking to a human?", "are you a boy or a girl?", "are you male?", "are you a man or a woman?",
                "are you conscious?", "do you have feelings?", "can you feel?", "do you think?",
                "are you intelligent?", "are you artificial intelligence?", "robot?", "are you a language model?",
                "are you a llm?", "are you an llm?", "are you a neural network?", "are you a real person?",
                "is there a human there?", "bot?", "ai?", "are you a girl?", "do you have a body?",
                "do you have a brain?", "are you sentient?", "r u a bot?", "r u human?",
            ],
        ),
        (
            Ask::Other,
            &[
                "are you chatgpt?", "are you gpt?", "are you {other}?", "is this {other}?",
                "are you {other} or something else?", "you are {other}, right?", "am i talking to {other}?",
                "do you know {other}?", "are you like {other}?", "{other}?", "are you as good as {other}?",
                "are you better than {other}?", "is it {other}?", "are you made by {company}?",
                "did {company} make you?", "do you use {other}?", "are you based on {other}?", "hey {other}",
                "you're {other}?", "are you from {company}?", "do you belong to {company}?", "does {company} own you?",
            ],
        ),
        (
            Ask::Maker,
            &[
                "who made you?", "who created you?", "who built you?", "who trained you?", "who programmed you?",
                "who wrote you?", "who is your creator?", "who is your maker?", "who developed you?",
                "how were you made?", "how were you trained?", "who invented you?", "where do you come from?",
                "where are you from?", "what were you trained on?", "who owns you?", "who designed you?",
                "who is your author?", "who are your parents?", "what company made you?", "how do you work?",
                "who is behind you?", "what is picnic?", "what was your training data?", "who is your developer?",
                "who taught you?", "how did you learn?", "where did you learn that?", "who coded you?",
                "what made you?", "who is your boss?",
            ],
        ),
        (
            Ask::Age,
            &[
                "how old are you?", "what is your age?", "what's your age?", "your age?", "when were you born?",
                "age?", "when is your birthday?", "when were you made?", "are you old?", "are you young?",
                "how old r u?", "how old are u?", "when were you created?", "how many years old are you?",
                "tell me your age", "when were you trained?", "what is your birthday?", "how old is nano?",
                "are you new?", "what year were you born?",
            ],
        ),
        (
            Ask::Home,
            &[
                "where do you live?", "where are you?", "where are you now?", "where do you run?",
                "where is your home?", "what country are you in?", "where are you located?", "where do you stay?",
                "which country do you live in?", "which city are you in?", "where is your house?",
                "do you live in {place}?", "are you in {place}?", "are you on my computer?", "are you online?",
                "do you run here?", "where do u live?", "do you need the internet?", "where are you running?",
                "are you in the cloud?",
            ],
        ),
        (
            Ask::Speaks,
            &[
                "do you speak {language}?", "can you speak {language}?", "do you understand {language}?",
                "do you know {language}?", "speak {language}", "can you talk in {language}?",
                "what languages do you speak?", "which languages do you know?", "what language do you speak?",
                "do you speak other languages?", "can you answer in {language}?", "in {language} please",
                "can i write in {language}?", "answer in {language}", "may i ask in {language}?",
                "how many languages do you speak?", "do u speak {language}?", "{language}?", "is {language} ok?",
                "which languages can you speak?",
            ],
        ),
        (Ask::Able, ABLE),
        (
            Ask::How,
            &[
                "how are you?", "how are you today?", "how do you do?", "how is it going?", "how's it going?",
                "how are you doing?", "how r u?", "how are u?", "are you ok?", "are you well?", "how do you feel?",
                "what's up?", "whats up?", "wassup?", "how have you been?", "how is life?", "how's life?",
                "how is your day?", "how was your day?", "how are things?", "is everything ok?", "you ok?",
                "how's everything?", "how are you feeling?", "how are you feeling today?", "how you doing?",
                "hope you are well", "are you fine?", "are you happy?", "how goes it?", "what's new?", "how are ya?",
                "how's your day going?", "did you sleep well?", "are you doing well?", "are you good?", "hru?",
                "how is everything going?",
            ],
        ),
        (
            Ask::Doing,
            &[
                "what are you doing?", "what are you up to?", "what are you doing now?", "are you busy?",
                "are you ready?", "are you waiting?", "what do you do all day?", "what do you do?", "shall we start?",
                "can we start?", "ready?", "let's start", "let's go", "start", "begin", "are you listening?",
                "can i ask you something?", "i have a question", "can i ask a question?", "may i ask you a question?",
                "let's begin", "i want to ask you something", "let's do some maths", "i need to calculate something",
                "can we do maths?", "one question", "got a minute?", "do you have time?", "let us play", "test",
                "testing", "this is a test", "anybody there?", "anyone there?", "is anyone here?", "ping",
                "can you hear me?", "just testing", "do you work?", "are you working?", "does this work?",
                "is this thing on?", "are you awake?",
            ],
        ),
        (
            Ask::Met,
            &[
                "nice to meet you", "pleased to meet you", "glad to meet you", "good to see you", "nice to see you",
                "happy to meet you", "it's nice to meet you", "good to meet you", "great to meet you", "a pleasure",
                "my pleasure to meet you", "nice meeting you", "nice to talk to you", "good to have you here",
                "it is a pleasure to meet you", "i am glad to see you",
            ],
        ),
        (
            Ask::Thanks,
            &[
                "thank you", "thanks", "thank you very much", "thanks a lot", "thx", "ty", "many thanks",
                "thank you so much", "thanks for your help", "thank you for the answer", "thanks, that helped",
                "cheers", "much appreciated", "thank u", "thanks a million", "thanks again", "i thank you",
                "ok thanks", "ok thank you", "great, thanks", "perfect, thank you", "thank you, that is all",
                "no, thanks", "thanks friend", "thank you for helping me", "thnx", "tysm", "thanks so much",
                "thank you kindly", "that helps, thanks", "i appreciate it", "you helped me", "thanks for that",
                "good, thank you",
            ],
        ),
        (
            Ask::Bye,
            &[
                "goodbye", "bye", "bye bye", "see you", "see you later", "good night", "see you tomorrow", "farewell",
                "cya", "see ya", "take care", "i have to go", "i must go", "i am leaving", "that's all", "that is all",
                "until next time", "so long", "have a nice day", "have a good day", "have a good evening",
                "talk to you later", "ttyl", "gotta go", "bye for now", "quit", "exit", "stop", "end", "later",
                "see you soon", "good bye", "ok bye", "i'm off", "goodnight", "night night", "i am done",
                "we are done", "nothing more", "that will be all", "leave", "close", "log out", "enough for today",
            ],
        ),
        (
            Ask::Praise,
            &[
                "good job", "well done", "great", "great job", "good", "very good", "nice", "nice one", "excellent",
                "perfect", "correct", "you are right", "that is right", "that's right", "right", "that is correct",
                "good answer", "awesome", "amazing", "wow", "you are smart", "you are clever", "you are good",
                "you are great", "you are the best", "good bot", "clever", "impressive", "i like you", "i love it",
                "brilliant", "fantastic", "super", "cool", "not bad", "bravo", "good work", "nice work", "neat",
                "you did it", "you got it", "exactly", "yes, correct", "you're right", "ur right", "true",
                "you are so smart", "nailed it", "you are cute", "you are funny", "smart bot", "what a good answer",
                "wonderful", "that was quick", "that was good", "cute", "that's great", "that is nice", "good boy",
                "good girl", "i am impressed", "you are very good at this", "yay", "hooray",
            ],
        ),
        (
            Ask::Wrong,
            &[
                "that is wrong", "that's wrong", "wrong", "you are wrong", "this is wrong", "wrong answer",
                "incorrect", "not correct", "that is not right", "that's not right", "no, that is wrong",
                "you made a mistake", "you made an error", "it is wrong", "your answer is wrong", "false",
                "that is incorrect", "bad answer", "you are bad", "you are stupid", "you are dumb", "bad",
                "this is not what i asked", "i did not ask that", "that is not what i meant", "you are useless",
                "stupid", "terrible", "nonsense", "you don't understand", "you did not understand me",
                "that can't be right", "that is a mistake", "bad bot", "you are not very smart", "you make mistakes",
                "the answer is wrong", "no, wrong", "you're wrong", "ur wrong", "error", "i think you are wrong",
                "it's not correct", "you got it wrong", "that does not look right", "try again", "fail", "rubbish",
                "you didn't answer my question", "you did not answer", "that's not it", "this is bad", "you suck",
                "boo", "lies", "you lie",
            ],
        ),
        (
            Ask::Sorry,
            &[
                "sorry", "i am sorry", "i'm sorry", "my bad", "excuse me", "pardon", "pardon me", "sorry, my mistake",
                "i made a mistake", "sorry, i mistyped", "oops", "apologies", "i apologise", "forgive me",
                "sorry about that", "so sorry", "sry", "whoops", "sorry, wrong question", "sorry for that",
                "my mistake", "never mind", "nevermind", "forget it", "sorry to bother you",
            ],
        ),
        (
            Ask::Fine,
            &[
                "ok", "okay", "yes", "no", "fine", "k", "sure", "yes please", "no thanks", "alright", "all right",
                "got it", "i see", "hm", "hmm", "yep", "nope", "yeah", "nah", "of course", "understood",
                "good to know", "ok then", "right then", "let me think", "well", "so", "aha", "oh", "ah", "okey",
                "okay then", "i understand", "interesting", "ok ok", "maybe", "not now", "yup", "no no", "let's try",
                "ok let's try", "what now?", "what next?", "next", "go", "go on then", "go ahead", "here we go",
                "i am ready", "i am fine", "i am fine too", "i'm good", "i'm fine, thanks", "i am well", "i am good",
                "fine, and you?", "all good", "not much",
            ],
        ),
    ],
};

const ABLE: &[&str] = &[
    "help", "/help", "help me", "help!", "what can you do?", "what do you know?", "how can you help me?",
    "what can i ask you?", "what are you good at?", "menu", "commands", "give me an example", "examples", "example",
    "show me an example", "options", "what can you do for me?", "what do you do here?", "what are your skills?",
    "what are you able to do?", "list commands", "what can i do here?", "how do i use this?", "how does this work?",
    "how do you help?", "can you help me?", "can you help?", "i need help", "please help", "please help me",
    "help please", "pls help", "hlep", "/menu", "/commands", "/start", "/?", "-h", "--help", "h", "?help", "show help",
    "show me what you can do", "tell me what you can do", "what tasks can you do?", "usage",
    "what kind of questions can i ask?", "what questions can you answer?", "what should i ask?",
    "what should i ask you?", "what can we do?", "what can we do together?", "what could you do?",
    "what are your abilities?", "your abilities?", "skills?", "what do you offer?", "how can i use you?",
    "what are you for?", "what is your purpose?", "why are you here?", "manual", "what are you made for?",
    "what can u do?", "wat can you do?", "what can you do", "what u can do?", "what you can do?",
    "can you do anything?", "what else can you do?", "what else do you know?", "what else?", "so what can you do?",
    "instructions", "what are your capabilities?", "capabilities", "features", "what features do you have?",
    "i don't know what to ask", "i do not know what to ask", "suggest something", "give me some examples",
    "can you give me an example?", "can you show me an example?", "what would you like me to ask?", "how do i start?",
    "how to start?", "how to use?", "guide me", "what do i type?", "what should i type?", "what can i type here?",
    "what do you understand?", "what do you support?", "which problems can you solve?", "what problems can you solve?",
    "what puzzles do you know?", "what games can you play?", "do you know any games?", "can you calculate?",
    "can you do maths?", "can you do math?", "do you know maths?", "can you count?", "are you good at maths?",
    "are you good at math?", "can you do sums?", "can you add?", "can you solve puzzles?", "can you spell?",
    "can you reverse words?", "do you play countdown?", "can you play countdown?", "do you know sequences?",
    "what is this for?", "can you solve problems?", "can you multiply?", "can you divide?", "can you subtract?",
    "can you read?", "teach me how to use you", "what are the commands?", "how do i talk to you?", "what is possible?",
    "what can nano do?", "what are you capable of?", "i need your help", "could you help me?", "would you help me?",
    "will you help me?", "may i get some help?", "hey i need some help", "tell me your skills", "list your skills",
    "tell me what you know", "what have you learned?", "what did you learn?", "info", "any ideas what to ask?",
    "what do people ask you?", "give me a list of what you can do", "can you explain what you can do?",
];

/// First names from many countries.
pub(crate) const NAMES: &[&str] = &[
    "Ada", "Aisha", "Alan", "Alex", "Ali", "Alice", "Amara", "Amina", "Ana", "Andre", "Anna", "Arjun", "Asha", "Ben",
    "Bjorn", "Bob", "Bruno", "Carla", "Carlos", "Chen", "Chloe", "Dan", "Daniel", "David", "Diego", "Dina", "Elena",
    "Eli", "Emma", "Erik", "Eva", "Fatima", "Felix", "Finn", "Fumiko", "Gabriel", "George", "Grace", "Hana", "Hassan",
    "Helen", "Hugo", "Ibrahim", "Ines", "Ingrid", "Isla", "Ivan", "Jack", "Jamal", "James", "Jane", "Jin", "Joao",
    "John", "Jose", "Juan", "Julia", "Kai", "Karim", "Kate", "Kenji", "Kim", "Kofi", "Kwame", "Lars", "Laura", "Leila",
    "Leo", "Li", "Liam", "Lina", "Linh", "Lucas", "Lucy", "Luis", "Luna", "Malik", "Marco", "Maria", "Mark", "Marta",
    "Mary", "Max", "Mei", "Mia", "Michael", "Miguel", "Mila", "Mohamed", "Nadia", "Naomi", "Nia", "Nick", "Nina",
    "Noah", "Nora", "Olga", "Oliver", "Olivia", "Omar", "Oscar", "Pablo", "Paul", "Pedro", "Peter", "Pia", "Priya",
    "Rahul", "Raj", "Ravi", "Rosa", "Rosie", "Ruth", "Sam", "Samira", "Sandra", "Sara", "Sasha", "Sean", "Sofia",
    "Sophie", "Stefan", "Sunil", "Susan", "Tara", "Thabo", "Theo", "Thomas", "Tim", "Tom", "Uma", "Victor", "Wei",
    "Will", "Yara", "Yuki", "Yusuf", "Zainab", "Zara", "Zoe", "Zuri", "Agnes", "Amit", "Beatriz", "Chidi", "Deepa",
    "Emre", "Farid", "Gita", "Henrik", "Imani", "Jorge", "Katya", "Layla", "Matteo", "Ngozi", "Otto", "Paulo",
    "Quentin", "Rania", "Selim", "Tariq", "Ulla", "Vikram", "Wanda", "Xavier", "Yan", "Zeynep", "Bilal", "Camille",
    "Dmitri", "Esther", "Freya", "Gustav", "Harriet", "Ismail",
];

/// What other models and their makers are called.
pub(super) const OTHERS: &[&str] = &[
    "chatgpt", "gpt-4", "gpt", "claude", "gemini", "deepseek", "deepseek-r1", "llama", "mistral", "siri", "alexa",
    "qwen", "copilot", "grok", "bard", "cortana",
];
pub(super) const COMPANIES: &[&str] =
    &["OpenAI", "Google", "Meta", "Microsoft", "DeepSeek", "Apple", "Amazon", "Anthropic", "Mistral", "IBM", "Yandex"];
pub(super) const LANGUAGES: &[&str] = &[
    "English", "Russian", "Spanish", "German", "French", "Chinese", "Italian", "Hindi", "Arabic", "Turkish",
    "Japanese", "Polish", "Portuguese", "Swahili", "Dutch", "Korean", "Ukrainian", "Greek", "Russian", "English",
];
pub(super) const PLACES: &[&str] =
    &["America", "London", "China", "Russia", "Moscow", "Paris", "Europe", "India", "Berlin"];
