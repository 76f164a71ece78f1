//! Plots told in English.
//!
//! Most stories are put together from a start, changes and an end ([`owner`], [`place`]). Plots of one step, and change
//! for money, have whole frames besides: people ask those most. In a template, `{n}` is filled in, `[has|have]` is for a
//! name or for I, and `<finds~found>` is for now or the past.

use rand::RngExt;
use rand::seq::IndexedRandom;
use rand_chacha::ChaCha8Rng;

use super::english_words::{ANYBODY, BODIES, FOOD, GOODS, GROUPS, HOLDERS, MEN, MONEY, PLACES, WOMEN};
use super::{Change, End, Plot, Start, Story, capitalised, fill};
use crate::calculations::number_words;
use crate::task::Language;
use crate::wording::uncapitalised;
use crate::words::pronounceable;

const MORE: &[&str] = &[
    "How many {things} [does {A}|do I] have if {he} had {n} and got {k} more?",
    "I have {n} {things}. You give me {k}. How many do I have?",
    "If you have {n} {things} and get {k} more, how many do you have?",
    "What do you get if you add {k} {things} to {n} {things}?",
    "Yesterday {A} had {n} {things}, today {he} [has|have] {k} more. How many is that?",
    "A plant was {n} cm tall and grew {k} cm. How tall is it now?",
    "The temperature was {n} degrees and rose by {k}. What is it now?",
    "The price was {n} {coins} and went up by {k}. What is the price now?",
    "{A} [is|am] {n} years old. How old will {he} be in {k} years?",
    "{A} had {n} {coins} and earned {k} more. How much [does {he}|do I] have now?",
    "A tank holds {n} liters of water. {k} liters are added. How much water is in it?",
    "How many {things} are {n} {things} and {k} {things}?",
    "A library had {n} books and bought {k} new ones. How many books has it now?",
    "{A} [has|have] {n} {things} in a {box} and {k} loose ones. How many {things} is that?",
    "{n} people were in the room and {k} more came in. How many people are there?",
];
const LESS: &[&str] = &[
    "If you have {n} {things} and take away {k}, how many are left?",
    "If I have {n} {things} and give you {k}, how many do I have left?",
    "How many {things} are left if {A} had {n} and lost {k}?",
    "A rope is {n} meters long. {k} meters are cut off. How long is it now?",
    "A book has {n} pages. {A} [has|have] read {k}. How many pages are left?",
    "A class has {n} students. {k} of them are ill today. How many are there?",
    "There are {n} children in a class, {k} are girls. How many are boys?",
    "There were {n} {things} in the shop. {k} were sold. How many are left?",
    "Of {n} {things}, {k} are broken. How many are still good?",
    "{A} had {n} {coins} and spent {k}. How much is left?",
    "{A} [has|have] {n} {coins} and buy[s|] a {toy} for {k}. How much money is left?",
    "It is {n} km to the city. {A} [has|have] gone {k} km. How far is it still?",
    "{A} [is|am] {n} years old. How old [was|was] {he} {k} years ago?",
    "The temperature was {n} degrees and fell by {k}. What is it now?",
    "The price was {n} {coins} and went down by {k}. What is the price now?",
    "What is left if you take {k} {things} from {n} {things}?",
    "{n} candles are burning. {k} go out. How many are still burning?",
    "There should be {n} {things} in the {box}, but {k} are missing. How many are in it?",
    "The {box} should hold {n} {things}. {k} are missing. How many are there?",
    "{A} packed {n} {things} but forgot {k}. How many {things} did {he} bring?",
    "{A} baked {n} {foods}. {k} of them were burnt. How many were good?",
    "{n} people were invited, but {k} did not come. How many came?",
    "{A} caught {n} fish and let {k} go. How many fish did {he} keep?",
    "All but {k} of {n} {things} were sold. How many were sold?",
];
const TWO: &[&str] = &[
    "{A} [has|have] {n} {things} and {B} has {k}. How many do [they|we] have together?",
    "{A} [has|have] {n} {things}, {B} has {k}. How many {things} do [they|we] have in total?",
    "{A} read {n} pages on Monday and {k} on Tuesday. How many pages in total?",
    "There are {n} boys and {k} girls in a class. How many children are there?",
    "There are {n} red and {k} blue {things} in a {box}. How many {things} are there?",
    "{A} picked {n} {foods} and {B} picked {k}. How many did [they|we] pick altogether?",
    "A team scored {n} points in the first half and {k} in the second. How many in all?",
    "A farm has {n} cows and {k} sheep. How many animals are there?",
    "{A} walked {n} km in the morning and {k} km in the evening. How far did {he} walk?",
    "A {toy} costs {n} {coins} and a book {k}. How much do both cost?",
    "{A} paid {n} {coins} for bread and {k} for cheese. How much did {he} spend?",
    "In one {box} there are {n} {things}, in another {k}. How many are in both?",
    "{n} people came on Saturday and {k} on Sunday. How many came altogether?",
    "{A} ate {n} {foods} yesterday and {k} today. How many {foods} did {he} eat?",
    "{A} worked {n} minutes, then {k} minutes more. How many minutes in total?",
    "How many {things} do {A} and {B} have together if {A} [has|have] {n} and {B} {k}?",
];
const BOXES: &[&str] = &[
    "A {box} holds {n} {things}. How many {things} are in {k} {boxes}?",
    "There are {k} {boxes} with {n} {things} in each. How many {things} are there?",
    "{A} [has|have] {k} {boxes} with {n} {things} each. How many {things} is that?",
    "{k} {kids} have {n} {things} each. How many {things} do they have together?",
    "There are {k} rows of {n} chairs. How many chairs are there?",
    "{A} [reads|read] {n} pages every day. How many pages is that in {k} days?",
    "{A} [runs|run] {n} km a day. How far [does {he}|do I] run in {k} days?",
    "One bus carries {n} people. How many people can {k} buses carry?",
    "A hen lays {n} eggs a week. How many eggs does it lay in {k} weeks?",
    "{A} [earns|earn] {n} {coins} an hour. How much [does {he}|do I] earn in {k} hours?",
    "A machine makes {n} {goods} per hour. How many does it make in {k} hours?",
    "{A} bought {k} packs of {n} {things}. How many {things} did {he} buy?",
    "How many {things} are in {k} {boxes} if one {box} holds {n}?",
    "Each of {k} shelves has {n} books. How many books in total?",
    "{A} give[s|] {n} {things} to each of {k} {kids}. How many {things} is that?",
    "{k} {kids} bring {n} {things} each. How many {things} do they bring?",
    "There are {k} {boxes}. Each {box} has {n} {things}. How many {things} are there in all?",
    "{A} planted {k} rows of {n} {foods}. How many did {he} plant?",
    "Every {kid} gets {n} {things}. There are {k} {kids}. How many {things} are needed?",
    "{A} [has|have] {k} cats. Each cat has {n} kittens. How many kittens are there?",
    "If one {box} has {n} {things}, how many do {k} {boxes} have?",
    "{A} [saves|save] {n} {coins} a week. How much [does {he}|do I] have after {k} weeks?",
    "What are {k} times {n} {things}?",
];
const PRICE: &[&str] = &[
    "If one {thing} costs {k} {coins}, how much do {n} {things} cost?",
    "{A} bought {n} {things} for {k} {coins} each. How much did {he} pay?",
    "{n} {things} cost {k} {coins} each. What do they cost together?",
    "One {thing} costs {k} {coins}. How much do {n} cost?",
    "What is the price of {n} {things} at {k} {coins} each?",
    "{A} sold {n} {things} for {k} {coins} each. How much money did {he} get?",
    "A ticket costs {k} {coins}. How much do {n} tickets cost?",
    "One {thing} is {k} {coins}. What do {n} {things} cost?",
    "A {thing} is {k} {coins}. How much are {n} of them?",
    "What do {n} {things} cost if each is {k} {coins}?",
    "A cup of tea is {k} {coins}. What do {n} cups cost?",
    "{n} tickets at {k} {coins} each. What is the total?",
    "How much are {n} {things} if one is {k} {coins}?",
    "{A} [buys|buy] {n} {things}. Each costs {k} {coins}. How much [does {he}|do I] pay?",
];
/// Here `{n}` is how many, `{k}` what one costs, `{paid}` what is paid.
const PAID: &[&str] = &[
    "{A} [buys|buy] {n} {things} for {k} {coins} each and pay[s|] {paid} {coins}. How much [does {he}|do I] get back?",
    "{A} bought {n} {things} at {k} {coins} each and paid with {paid}. How much change did {he} get?",
    "{n} {things} cost {k} {coins} each. {A} pay[s|] {paid} {coins}. What is the change?",
    "{A} had {paid} {coins} and bought {n} {things} for {k} {coins} each. How much [does {he}|do I] have left?",
    "{A} [has|have] {paid} {coins}. One {thing} costs {k}. How much is left after buying {n}?",
    "One {thing} costs {k} {coins}. What change [does {A}|do I] get from {paid} {coins} for {n} of them?",
    "A ticket is {k} {coins}. {A} [takes|take] {n} and give[s|] {paid}. How much comes back?",
];
const BAGS: &[&str] = &[
    "{A} share[s|] {n} {things} equally among {k} {kids}. How many does each get?",
    "{n} {things} are put into {k} {boxes}, the same number in each. How many are in one {box}?",
    "{k} {kids} share {n} {things} equally. How many does each {kid} get?",
    "{n} chairs stand in {k} equal rows. How many are in a row?",
    "{k} {things} cost {n} {coins}. How much does one {thing} cost?",
    "How many {things} does each get if {k} people divide {n} equally?",
    "{A} read {n} pages in {k} days, the same every day. How many pages a day?",
    "A rope of {n} meters is cut into {k} equal parts. How long is each part?",
    "{A} divide[s|] {n} {things} between {k} {kids}. How many does each one have?",
    "If {k} {kids} share {n} {things}, how many does each get?",
    "{n} students form {k} equal teams. How many are in a team?",
    "{A} earned {n} {coins} in {k} hours. How much is that per hour?",
];
const PACKS: &[&str] = &[
    "{n} {things} are packed, {k} in a {box}. How many {boxes} are there?",
    "How many {boxes} do you need for {n} {things} if each holds {k}?",
    "A {box} holds {k} {things}. How many {boxes} are needed for {n} {things}?",
    "{A} [has|have] {n} {coins}. One {thing} costs {k}. How many can {he} buy?",
    "{n} children make teams of {k}. How many teams are there?",
    "A book has {n} pages. {A} [reads|read] {k} a day. How many days does it take?",
];
const OTHER: &[&str] = &[
    "{A} [is|am] {n} years old, {his} {kin} is {k} years older. How old is {his} {kin}?",
    "{A} [is|am] {n}. {B} is {k} years older. How old is {B}?",
    "{A} [has|have] {n} {things}, {B} has {k} more. How many has {B}?",
    "One tree is {n} m tall, another is {k} m taller. How tall is the other?",
    "A {toy} costs {n} {coins}, a lamp costs {k} more. What does the lamp cost?",
    "{B} has {k} more {things} than {A}. {A} [has|have] {n}. How many does {B} have?",
];
const OTHER_LESS: &[&str] = &[
    "{A} [is|am] {n} years old, {his} {kin} is {k} years younger. How old is {his} {kin}?",
    "{A} [is|am] {n}. {B} is {k} years younger. How old is {B}?",
    "{A} [has|have] {n} {things}, {B} has {k} fewer. How many has {B}?",
    "{A} [has|have] {n} {things}, {B} has {k} less. How many does {B} have?",
    "One tree is {n} m tall, another is {k} m shorter. How tall is the other?",
    "A {toy} costs {n} {coins}, a pen costs {k} less. What does the pen cost?",
];
const OTHER_TIMES: &[&str] = &[
    "{A} [has|have] {n} {things}, {B} has {times} as many. How many has {B}?",
    "{A} found {n} {things} and {B} found {times} as many. How many did {B} find?",
    "{A} ate {n} {foods}, {B} ate {times} as many. How many {foods} did {B} eat?",
    "{A} read {n} pages, {B} {times} as many. How many pages did {B} read?",
    "{A} [earns|earn] {n} {coins} and {B} {times} as much. How much does {B} earn?",
    "{B} has {times} as many {things} as {A}. {A} [has|have] {n}. How many {things} does {B} have?",
    "{A} [is|am] {n} years old, {his} {kin} is {times} as old. How old is {his} {kin}?",
    "One rope is {n} m long, another is {times} as long. How long is the other?",
    "A {toy} costs {n} {coins}, a lamp costs {times} as much. What does the lamp cost?",
    "If {A} [has|have] {n} {things} and {B} has {times} as many, how many does {B} have?",
];
const OTHER_HALF: &[&str] = &[
    "{A} [has|have] {n} {things}, {B} has half as many. How many has {B}?",
    "{A} [is|am] {n} years old, {his} {kin} is half as old. How old is {his} {kin}?",
    "{A} [has|have] {n} {things}. Half of them are red. How many are red?",
    "A {toy} costs {n} {coins}, a pen costs half as much. What does the pen cost?",
    "What is half of {n} {things}?",
];
/// Here `{n}` is the larger.
const DIFFERENCE: &[&str] = &[
    "{A} [has|have] {n} {things}, {B} has {k}. How many more [does {A}|do I] have?",
    "{A} [has|have] {n} {things} and {B} has {k}. How many fewer does {B} have?",
    "{A} [is|am] {n} years old and {B} is {k}. How much older [is {A}|am I]?",
    "One tree is {n} m tall, another {k} m. How much taller is the first?",
    "A lamp costs {n} {coins}, a {toy} costs {k}. How much more is the lamp?",
    "There are {n} boys and {k} girls. How many more boys are there?",
    "{A} read {n} pages on Monday and {k} on Tuesday. How many more on Monday?",
];
const NEED: &[&str] = &[
    "{A} [has|have] {n} {coins}. A {toy} costs {k}. How much more [does {he}|do I] need?",
    "{A} [needs|need] {k} {things} and [has|have] {n}. How many are missing?",
    "{A} [has|have] {n} {things} and [wants|want] {k}. How many more [does {he}|do I] need?",
    "How many {things} must {A} add to {n} to have {k}?",
    "{A} had {n} {things}, then got some more. Now {he} [has|have] {k}. How many did {he} get?",
    "The bus has {k} seats. {n} are taken. How many are free?",
];

const HAS: &[&str] = &[
    "{A} <[has|have]~had> {n} {things}", "{A} <[has|have]~had> {n} {things}", "{A} <[has|have]~had> {n} {things}",
    "{A} <[has|have] got~had> {n} {things}", "{A} <[owns|own]~owned> {n} {things}",
    "{A} <[buys|buy]~bought> {n} {things}", "{A} <[has|have]~had> {n} {things} in {his} bag",
    "there <are~were> {n} {things} in {A's} room",
];
const HAS_BOXES: &[&str] = &[
    "{A} <[has|have]~had> {k} {boxes} with {n} {things} in each",
    "{A} <[has|have]~had> {k} {boxes} of {n} {things}",
    "{A} <[buys|buy]~bought> {k} {boxes} with {n} {things} each",
    "{A} <[has|have]~had> {k} {boxes}, {n} {things} in each",
    "{A} <[bakes|bake]~baked> {k} trays of {n} {things}",
    "{A} <[fills|fill]~filled> {k} {boxes} with {n} {things} each",
    "there <are~were> {k} {boxes} with {n} {things} each in {A's} house",
];
const HAS_TWO: &[&str] = &[
    "{A} <find[s|]~found> {n} {things} in the morning and {k} in the evening",
    "{A} <[has|have]~had> {n} {things} on the table and {k} in a {box}",
    "{A} <[has|have]~had> {n} red and {k} blue {things}",
    "{A} <[has|have]~had> {n} big {things} and {k} small ones",
    "{A} <[has|have]~had> {n} {things} in one {box} and {k} in another",
    "{A} <[gets|get]~got> {n} {things} from {B} and {k} from {his} mum",
];
/// Whoever does it is `{S}`, and falls away behind "and".
const GAINS: &[&str] = &[
    "{S} <find[s|]~found> {n} more", "{S} <buy[s|]~bought> {n} more", "{S} <get[s|]~got> {n} more",
    "{S} <get[s|]~got> {n} from {B}", "{B} <gives~gave> {him} {n} more", "{B} <gives~gave> {him} {n}",
    "{S} <receive[s|]~received> {n} as a gift", "{S} <win[s|]~won> {n}", "{S} <collect[s|]~collected> {n} more",
    "{S} <make[s|]~made> {n} more", "{n} more <come~came> from {B}", "{S} <add[s|]~added> {n} more",
    "{S} <find[s|]~found> another {n}", "{B} <brings~brought> {him} {n} more",
    "{n} more <are~were> loose on the table", "{S} <also [has|have]~also had> {n} loose ones",
    "{his} mum <gives~gave> {him} {n}",
];
const LOSSES: &[&str] = &[
    "{S} <lose[s|]~lost> {n} of them", "{S} <lose[s|]~lost> {n}", "{S} <give[s|]~gave> {n} to {B}",
    "{S} <give[s|]~gave> away {n}", "{S} <give[s|]~gave> {B} {n} of them", "{S} <sell[s|]~sold> {n}",
    "{S} <throw[s|]~threw> away {n}", "{S} <lend[s|]~lent> {n} to {B}", "{B} <takes~took> {n} of them",
    "{S} <use[s|]~used> {n}", "{n} of them <break~broke>", "{n} <are~were> stolen", "{S} <drop[s|]~dropped> {n}",
    "{B} <borrows~borrowed> {n}", "{S} <put[s|]~put> {n} away", "a dog <takes~took> {n} of them", "{n} <get~got> lost",
    "{S} <let[s|]~let> {n} go", "{S} <leave[s|]~left> {n} at home", "{n} of them <go~went> bad",
    "{his} friends <take~took> {n}",
];
const EATS: &[&str] = &[
    "{S} <eat[s|]~ate> {n}", "{S} <eat[s|]~ate> {n} of them", "{B} <eats~ate> {n} of them",
    "birds <eat~ate> {n} of them", "mice <eat~ate> {n}", "{his} family <eats~ate> {n} of them",
    "{his} friends <eat~ate> {n}",
];
const HALVES: &[&str] = &[
    "{S} <give[s|]~gave> half of them to {B}", "{S} <lose[s|]~lost> half of them", "{S} <sell[s|]~sold> half",
    "{S} <give[s|]~gave> away half of them",
];
const LEFT: &[&str] = &[
    "How many are left?", "How many {things} are left?", "How many remain?",
    "How many {things} [does {A}|do I] have left?", "How many {things} [does {A}|do I] have now?",
    "How many [does {he}|do I] still have?", "How many {things} [does {he}|do I] have?", "How many are still there?",
];
/// When nothing has changed.
const ALL: &[&str] = &[
    "How many {things} [does {A}|do I] have?", "How many {things} [does {A}|do I] have in total?",
    "How many {things} [does {he}|do I] have altogether?", "How many {things} is that in all?",
    "How many {things} are there?",
];
const NOW: &[&str] = &[
    "How many {things} [does {A}|do I] have now?", "How many [does {he}|do I] have now?",
    "How many {things} [does {he}|do I] have in total?", "How many {things} [does {A}|do I] have altogether?",
    "How many {things} is that in all?", "How many {things} are there now?", "How many [does {A}|do I] have?",
];

/// Who and what a story is about.
struct Cast {
    /// I tell it.
    me: bool,
    past: bool,
    food: bool,
    /// Small numbers are in words.
    in_words: bool,
    words: Vec<(&'static str, String)>,
}

impl Cast {
    /// `plain`: a person with a name.
    fn draw(plain: bool, rng: &mut ChaCha8Rng) -> Self {
        let pick = |from: &[&'static str], rng: &mut ChaCha8Rng| from.choose(rng).copied().unwrap_or_default();
        let pair =
            |from: &[(&'static str, &'static str)], rng: &mut ChaCha8Rng| from.choose(rng).copied().unwrap_or_default();
        let man = rng.random_bool(0.5);
        let me = !plain && rng.random_bool(0.3);
        let names = if man { &MEN } else { &WOMEN };
        let name = pick(if !plain && rng.random_bool(0.1) { &ANYBODY[usize::from(man)] } else { names }, rng);
        // Of the other half, so that it is somebody else.
        let other = pick(if man { &WOMEN } else { &MEN }, rng);
        let food = rng.random_bool(0.4);
        let (edible, goods) = (pair(&FOOD, rng), pair(&GOODS, rng));
        let (thing, things) = if food { edible } else { goods };
        // Now and then somebody and something that nobody has heard of.
        let invented =
            |rng: &mut ChaCha8Rng| (!plain && rng.random_bool(0.08)).then(|| pronounceable(Language::English, rng));
        let new_name = invented(rng).map(|name| capitalised(&name));
        let name = new_name.as_deref().unwrap_or(name);
        let new_thing = invented(rng).map(|one| {
            let many = format!("{one}{}", if one.ends_with(['s', 'x']) { "es" } else { "s" });
            (one, many)
        });
        let (thing, things) = new_thing.as_ref().map_or((thing, things), |(one, many)| (&one[..], &many[..]));
        let (holder, holders) = pair(&HOLDERS, rng);
        let (kid, kids) = pair(&GROUPS, rng);
        let [who, he, him, his] = match (me, man) {
            (true, _) => ["I", "I", "me", "my"],
            (_, true) => [name, "he", "him", "his"],
            _ => [name, "she", "her", "her"],
        };
        let words = [
            ("A", who),
            ("he", he),
            ("him", him),
            ("his", his),
            ("B", other),
            ("thing", thing),
            ("things", things),
            ("foods", edible.1),
            ("goods", goods.1),
            ("toy", pick(&["toy", "ball", "game", "hat", "bag", "doll", "cake", "shirt"], rng)),
            ("coins", pick(&MONEY, rng)),
            ("box", holder),
            ("boxes", holders),
            ("kid", kid),
            ("kids", kids),
            ("kin", pick(&["sister", "brother", "friend", "cousin"], rng)),
        ];
        let mut words: Vec<(&str, String)> = words.into_iter().map(|(key, word)| (key, word.to_owned())).collect();
        words.push(("A's", if me { "my".to_owned() } else { format!("{who}'s") }));
        Self { me, past: rng.random_bool(0.5), food, in_words: !plain && rng.random_bool(0.12), words }
    }

    /// One of `ways` with these numbers.
    fn say(&self, ways: &[&str], n: u32, k: u32, rng: &mut ChaCha8Rng) -> String {
        self.fill(ways.choose(rng).copied().unwrap_or_default(), n, k)
    }

    fn fill(&self, template: &str, n: u32, k: u32) -> String {
        let number = |n: u32| match self.in_words && n <= 20 {
            true => number_words(n, Language::English),
            false => n.to_string(),
        };
        fill(template, [self.past, self.me], |key| match key {
            "n" => number(n),
            "k" => number(k),
            "times" if k == 2 => "twice".to_owned(),
            "times" => format!("{k} times"),
            _ => self.words.iter().find(|(other, _)| *other == key).map_or_else(String::new, |(_, word)| word.clone()),
        })
    }
}

/// The story of a plot.
pub(super) fn tell(plot: &Plot, rng: &mut ChaCha8Rng) -> String {
    if rng.random_bool(0.6)
        && let Some(whole) = frame(plot, rng)
    {
        return capitalised(&whole);
    }
    if rng.random_bool(0.4)
        && let Some(story) = place(plot, rng)
    {
        return capitalised(&story);
    }
    let story = owner(plot, false, rng);
    capitalised(&format!("{} {}", story.sentences.join(" "), story.question))
}

/// A whole problem of one step, or of change for money.
fn frame(plot: &Plot, rng: &mut ChaCha8Rng) -> Option<String> {
    let cast = Cast::draw(false, rng);
    let (ways, n, k) = match (plot.start, &plot.changes[..], plot.end) {
        (Start::Has(n), [Change::More(k)], End::Now) => (MORE, n, *k),
        (Start::Has(n), [Change::Less(k)], End::Now) => (LESS, n, *k),
        (Start::Two(n, k), [], End::Now) => (TWO, n, k),
        (Start::Boxes(k, n), [], End::Now) => {
            let bodies: Vec<_> = BODIES.iter().filter(|(count, ..)| *count == n).collect();
            if rng.random_bool(0.3)
                && let Some((_, body, parts)) = bodies.choose(rng)
            {
                let one = if *body == "ant" { "An" } else { "A" };
                return Some(format!("{one} {body} has {n} {parts}. How many {parts} do {k} {body}s have?"));
            }
            (BOXES, n, k)
        }
        (Start::Has(n), [], end) => match end {
            End::Price(k) => (PRICE, n, k),
            End::Paid(k, paid) => {
                let way = PAID.choose(rng).copied()?;
                return Some(cast.fill(&way.replace("{paid}", &paid.to_string()), n, k));
            }
            End::Bags(k) => (BAGS, n, k),
            End::Packs(k) => (PACKS, n, k),
            End::Other(k) => (OTHER, n, k),
            End::OtherLess(k) => (OTHER_LESS, n, k),
            End::OtherTimes(k) => (OTHER_TIMES, n, k),
            End::OtherHalf => (OTHER_HALF, n, 2),
            End::Difference(k) => (DIFFERENCE, n.max(k), n.min(k)),
            End::Need(k) => (NEED, n, k),
            _ => return None,
        },
        _ => return None,
    };
    Some(cast.say(ways, n, k, rng))
}

/// Birds on a tree, people on a bus.
fn place(plot: &Plot, rng: &mut ChaCha8Rng) -> Option<String> {
    let (Start::Has(n), End::Now) = (plot.start, plot.end) else { return None };
    let (who, at, come, go) = *PLACES.choose(rng)?;
    let past = rng.random_bool(0.5);
    let be = if past { "were" } else { "are" };
    let mut text = match rng.random_range(0..5) {
        0 => format!("{n} {who} {be} {at}"),
        1 => format!("{at} there {be} {n} {who}"),
        2 if at.contains(" a ") && !past => format!("{} has {n} {who}", at.split_once(' ').map_or(at, |(_, it)| it)),
        _ => format!("there {be} {n} {who} {at}"),
    };
    for change in &plot.changes {
        let (template, count) = match *change {
            Change::More(count) => (come, count),
            Change::Less(count) => (go, count),
            Change::Half => return None,
        };
        let clause = fill(template, [past, false], |_| count.to_string());
        text += ["; ", ". ", ". ", ". Then ", " and "].choose(rng).copied().unwrap_or(". ");
        text += &clause;
    }
    let at = at.replacen(" a ", " the ", 1);
    let less = matches!(plot.changes.last(), Some(Change::Less(_)));
    let question = match rng.random_range(0..6) {
        0 if less => "How many are left?".to_owned(),
        1 if less => format!("How many {who} are still there?"),
        2 if less => format!("How many {who} remain {at}?"),
        3 if less => format!("How many {who} are left {at}?"),
        0 | 1 => "How many are there now?".to_owned(),
        2 => format!("How many {who} are there in all?"),
        _ => format!("How many {who} are {at} now?"),
    };
    Some(format!("{text}. {question}"))
}

/// What somebody has, in sentences that may be joined; `plain`: they are not, and somebody has a name.
pub(super) fn owner(plot: &Plot, plain: bool, rng: &mut ChaCha8Rng) -> Story {
    let cast = Cast::draw(plain, rng);
    let start = match plot.start {
        Start::Has(n) => cast.say(HAS, n, 0, rng),
        Start::Boxes(k, n) => cast.say(HAS_BOXES, n, k, rng),
        Start::Two(n, k) => cast.say(HAS_TWO, n, k, rng),
    };
    // Who did what came last, so that "and lost 3" is said of them.
    let mut of_them = !start.starts_with("there");
    let mut sentences = vec![start];
    // 0: each by itself; 1: the first two are one; 2: all are one.
    let joined = if plain { 0 } else { rng.random_range(0..3) };
    let subject = |rng: &mut ChaCha8Rng| if rng.random_bool(0.4) { "{A}" } else { "{he}" };
    for (place, change) in plot.changes.iter().enumerate() {
        let (ways, n) = match *change {
            Change::More(n) => (GAINS, n),
            Change::Less(n) if cast.food && rng.random_bool(0.4) => (EATS, n),
            Change::Less(n) => (LOSSES, n),
            Change::Half => (HALVES, 2),
        };
        let mut template = ways.choose(rng).copied().unwrap_or_default().to_owned();
        // Of boxes, too, there may be more or fewer.
        if matches!(plot.start, Start::Boxes(..)) || rng.random_bool(0.25) {
            template = template.replace("{n} of them", "{n}").replace("another {n}", "{n} more");
            let told = if template.contains("{n} more") { "{n} more" } else { "{n}" };
            template = template.replace(told, &format!("{told} {{things}}"));
        }
        let last = place + 1 == plot.changes.len();
        match sentences.last_mut() {
            Some(sentence) if joined == 2 || joined == 1 && place == 0 => {
                let link = match (last || joined == 1, rng.random_bool(0.4)) {
                    (true, true) => " and then ",
                    (true, false) => " and ",
                    _ => ", ",
                };
                *sentence += link;
                let subject = if of_them { "" } else { "{he} " };
                *sentence += &cast.fill(&template.replace("{S} ", subject), n, 0);
            }
            _ => {
                let then = if rng.random_bool(0.25) { "then " } else { "" };
                sentences.push(cast.fill(&format!("{then}{}", template.replace("{S}", subject(rng))), n, 0));
            }
        }
        of_them = template.starts_with("{S}");
    }
    let (end, question) = ending(plot, &cast, rng);
    sentences.extend(end);
    // "If I have 5 apples and eat 2, how many are left?"
    if !plain && sentences.len() == 1 && rng.random_bool(0.15) {
        return Story { sentences: vec![format!("If {},", sentences[0])], question: uncapitalised(&question) };
    }
    Story { sentences: sentences.into_iter().map(|sentence| capitalised(&format!("{sentence}."))).collect(), question }
}

/// What the question needs, and the question.
fn ending(plot: &Plot, cast: &Cast, rng: &mut ChaCha8Rng) -> (Option<String>, String) {
    let first = plot.has().unwrap_or_default();
    // Sentence and question; the number is `{n}`, `{k}` or in `{times}`.
    let (pairs, number): (&[(&str, &str)], u32) = match plot.end {
        End::Now => {
            let ways = match plot.changes.last() {
                None => ALL,
                Some(Change::More(_)) => NOW,
                Some(Change::Less(_) | Change::Half) => LEFT,
            };
            return (None, cast.say(ways, 0, 0, rng));
        }
        End::Price(k) => (
            &[
                ("each {thing} costs {n} {coins}", "How much do all of them cost?"),
                ("the {things} cost {n} {coins} each", "How much do they cost together?"),
                (
                    "{A} <[sells|sell]~sold> all the {things} for {n} {coins} each",
                    "How much money <[does|do]~did> {he} get?",
                ),
                ("one {thing} costs {n} {coins}", "What do all the {things} cost?"),
            ],
            k,
        ),
        End::Paid(k, paid) => {
            let sentence = [
                "one {thing} costs {n} {coins} and {A} <pay[s|]~paid> with {paid} {coins}",
                "each costs {n} {coins}; {A} <pay[s|]~paid> {paid} for all of them",
            ];
            let question = ["How much [does {he}|do I] get back?", "What is the change?", "How much money is left?"];
            let sentence = sentence.choose(rng).copied().unwrap_or_default().replace("{paid}", &paid.to_string());
            return (Some(cast.fill(&sentence, k, k)), cast.say(&question, 0, 0, rng));
        }
        End::Bags(k) => (
            &[
                (
                    "{A} <[puts|put]~put> them into {n} {boxes}, the same number in each",
                    "How many {things} are in each {box}?",
                ),
                ("{A} <[shares|share]~shared> them equally among {n} {kids}", "How many does each {kid} get?"),
                ("{A} <[divides|divide]~divided> them equally between {n} {kids}", "How many {things} does each get?"),
                ("{n} {kids} share them equally", "How many {things} does one {kid} get?"),
            ],
            k,
        ),
        End::Packs(k) => (
            &[
                ("{A} <[puts|put]~put> {n} into each {box}", "How many {boxes} are there?"),
                ("{A} <[packs|pack]~packed> them, {n} in a {box}", "How many {boxes} are needed?"),
                ("{n} of them fit into a {box}", "How many {boxes} [does {he}|do I] need?"),
            ],
            k,
        ),
        End::Other(n) | End::Together(n) => (&[("{B} has {n} more than {A:}", ""), ("{B} has {n} more", "")], n),
        End::OtherLess(n) | End::TogetherLess(n) => {
            (&[("{B} has {n} fewer than {A:}", ""), ("{B} has {n} less", ""), ("{B} has {n} fewer", "")], n)
        }
        End::OtherTimes(n) | End::TogetherTimes(n) => {
            (&[("{B} has {times} as many", ""), ("{B} has {times} as many {things} as {A:}", "")], n)
        }
        End::OtherHalf => (&[("{B} has half as many", ""), ("{B} has half as many as {A:}", "")], 2),
        End::Difference(n) => {
            let ways: &[(&str, &str)] = match first > n {
                true => &[
                    ("{B} has {n} {things}", "How many more [does {A}|do I] have than {B}?"),
                    ("{B} has {n}", "How many fewer does {B} have?"),
                ],
                false => &[
                    ("{B} has {n} {things}", "How many more does {B} have than {A:}?"),
                    ("{B} has {n}", "How many fewer [does {A}|do I] have?"),
                ],
            };
            (ways, n)
        }
        End::Need(n) => (
            &[
                ("{A} <[wants|want]~wanted> to have {n}", "How many more [does {he}|do I] need?"),
                ("{A} <[needs|need]~needed> {n}", "How many are missing?"),
            ],
            n,
        ),
    };
    let (sentence, question) = pairs.choose(rng).copied().unwrap_or_default();
    let question = match plot.end {
        End::Together(_) | End::TogetherLess(_) | End::TogetherTimes(_) => [
            "How many {things} do [they|we] have together?", "How many do [they|we] have in total?",
            "How many {things} do [they|we] have altogether?", "How many {things} is that together?",
        ]
        .choose(rng)
        .copied(),
        End::Other(_) | End::OtherLess(_) | End::OtherTimes(_) | End::OtherHalf => {
            ["How many {things} does {B} have?", "How many has {B}?", "How many does {B} have?"].choose(rng).copied()
        }
        _ => Some(question),
    };
    let them = if cast.me { "me" } else { "{A}" };
    let sentence = cast.fill(&sentence.replace("{A:}", them), number, number);
    (Some(sentence), cast.fill(&question.unwrap_or_default().replace("{A:}", them), number, number))
}
