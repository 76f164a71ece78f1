//! The full screen as a function of the state: from the top the time left, the chain, what is done now with its curves,
//! a question with its answer, news, and speed with memory. From 90 columns up chain and curves stand side by side.

use crate::answer::{self, Voice};
use crate::state::{Phase, Row, State, Training};
use crate::words::{about, clock, short, size, thousands, titles};
use picnic_train::report::Verdict;
use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, Borders, Paragraph};
use textwrap::core::display_width;

/// Columns from which on two parts stand side by side.
const WIDE: u16 = 90;

/// What each thing looks like.
#[derive(Clone, Copy, Debug)]
pub struct Palette {
    has_colour: bool,
}

impl Palette {
    /// With colours, or with weights alone, as `NO_COLOR` asks.
    pub fn new(has_colour: bool) -> Palette {
        Palette { has_colour }
    }

    fn colour(self, colour: Color) -> Style {
        if self.has_colour { Style::new().fg(colour) } else { Style::new() }
    }

    fn now(self) -> Style {
        self.colour(Color::Cyan).add_modifier(Modifier::BOLD)
    }

    fn dim(self) -> Style {
        Style::new().add_modifier(Modifier::DIM)
    }

    fn strong(self) -> Style {
        Style::new().add_modifier(Modifier::BOLD)
    }
}

/// Draws the whole screen, whatever its size.
pub fn draw(state: &State, palette: Palette, frame: &mut Frame) {
    let area = frame.area();
    let screen = &mut Screen { state, palette, frame };
    let (top, rest) = cut(area, 1);
    screen.header(top);
    let (rest, bottom) = cut(rest, rest.height.saturating_sub(2));
    screen.footer(bottom);
    let news = screen.news(area.width);
    let (rest, below) = cut(rest, rest.height.saturating_sub(news.len() as u16));
    frame_lines(screen.frame, below, news);
    let (chain, curves) = (state.rows.len() as u16 + 1, 2 + screen.curves().len() as u16);
    let exchange = if state.answer.is_some() { 7 } else { 0 };
    if area.width >= WIDE {
        let height = chain.max(curves).min(rest.height.saturating_sub(exchange).max(6));
        let (top, rest) = cut(rest, height);
        let left = area.width * 3 / 5;
        screen.chain(Rect { width: left - 2, ..top });
        screen.now(Rect { x: top.x + left, width: area.width - left, ..top });
        screen.exchange(rest);
    } else {
        // What is done now and a part of the exchange stay visible beside a long chain.
        let room = rest.height.saturating_sub(curves + exchange).max(4);
        let (top, rest) = cut(rest, chain.min(room));
        screen.chain(top);
        let (top, rest) = cut(rest, curves);
        screen.now(top);
        screen.exchange(rest);
    }
}

/// The upper `height` rows, and the others.
fn cut(area: Rect, height: u16) -> (Rect, Rect) {
    let height = height.min(area.height);
    (Rect { height, ..area }, Rect { y: area.y + height, height: area.height - height, ..area })
}

fn frame_lines(frame: &mut Frame, area: Rect, lines: Vec<Line>) {
    frame.render_widget(Paragraph::new(lines), area);
}

struct Screen<'s, 'f, 'b> {
    state: &'s State,
    palette: Palette,
    frame: &'f mut Frame<'b>,
}

impl Screen<'_, '_, '_> {
    /// The run's name and the time that it still takes.
    fn header(&mut self, area: Rect) {
        let left = match self.state.time_left() {
            Some(left) if left.is_zero() => "nearly done".to_owned(),
            Some(left) => format!("{} left", about(left)),
            None if self.state.rows.is_empty() => "reading the recipe".to_owned(),
            None => "measuring the speed".to_owned(),
        };
        let name = format!("Picnic · {}", self.state.name);
        let line = spread(vec![Span::styled(name, self.palette.strong())], vec![left.into()], area.width);
        self.lines(area, vec![line]);
    }

    /// Every part of the plan; where there are too many for the room, those around the current one.
    fn chain(&mut self, area: Rect) {
        let inside = self.titled(area, "the chain");
        let (rows, room) = (&self.state.rows, inside.height as usize);
        let first = self.state.current.saturating_sub(room / 2).min(rows.len().saturating_sub(room));
        let lines = rows.iter().enumerate().skip(first).take(room).map(|(i, row)| self.row(i, row, inside.width));
        let lines = lines.collect();
        self.lines(inside, lines);
    }

    fn row(&self, index: usize, row: &Row, width: u16) -> Line<'static> {
        let palette = self.palette;
        let (mark, style) = match row.phase {
            Phase::Done => ("✓", palette.colour(Color::Green)),
            Phase::Making | Phase::Evaluating(_) => ("▶", palette.now()),
            Phase::Next if self.is_next(index) => ("·", Style::new()),
            Phase::Next | Phase::LeftOut => ("·", palette.dim()),
        };
        let said = match (row.phase, &row.found) {
            (Phase::Done, Some(found)) if found.never_saw_the_format && found.accuracy == 0.0 => {
                "0 %, as expected".to_owned()
            }
            (Phase::Done, Some(found)) => format!("{:.1} % right", 100.0 * found.accuracy),
            (Phase::Done, None) => "done".to_owned(),
            (Phase::Making, _) => match &self.state.training {
                Some(training) => format!("step {}/{}", step_of(training), training.opened.total),
                None => "now".to_owned(),
            },
            (Phase::Evaluating(_), _) => "evaluation".to_owned(),
            (Phase::LeftOut, _) => "left out".to_owned(),
            (Phase::Next, _) if self.is_next(index) => "next".to_owned(),
            (Phase::Next, _) => String::new(),
        };
        let time = match row.phase {
            Phase::Done => clock(row.took),
            Phase::LeftOut => String::new(),
            _ => self.state.time_left_of(row).map_or_else(String::new, about),
        };
        let is_wide = width >= 56;
        let said = match row.phase {
            _ if is_wide => format!("{said}{time:>15}"),
            Phase::Next if !time.is_empty() => time,
            _ => said,
        };
        let room = usize::from(width).saturating_sub(3 + display_width(&said));
        let [long, brief] = titles(&row.part.name);
        let title = if display_width(long) <= room { long } else { brief };
        let title = Span::styled(clipped(title, room), if row.phase == Phase::Done { Style::new() } else { style });
        let said = Span::styled(said, if row.phase == Phase::Done { Style::new() } else { style });
        spread(vec![Span::styled(format!("{mark} "), style), title], vec![said], width)
    }

    /// Whether it is the first of the parts that come later.
    fn is_next(&self, index: usize) -> bool {
        self.state.rows.iter().position(|row| row.phase == Phase::Next) == Some(index)
    }

    /// The steps of the current part and the curves that go with it.
    fn now(&mut self, area: Rect) {
        let current = self.state.rows.get(self.state.current);
        let [long, brief] = current.map_or(["now", "now"], |row| titles(&row.part.name));
        let room = usize::from(area.width).saturating_sub(6);
        let inside = self.titled(area, if display_width(long) <= room { long } else { brief });
        let first = match (current.map(|row| row.phase), &self.state.training) {
            (Some(Phase::Evaluating(_)), _) => Line::raw("answers to problems that it has never seen"),
            (Some(Phase::Making), Some(training)) => self.steps(training, inside.width),
            (Some(Phase::Making), None) => Line::raw("getting ready"),
            _ => Line::raw(""),
        };
        let curves = self.curves();
        let lines = curves.iter().map(|(name, values)| self.curve(name, values, inside.width));
        let lines = [first].into_iter().chain(lines).collect();
        self.lines(inside, lines);
    }

    fn steps(&self, training: &Training, width: u16) -> Line<'static> {
        let (step, total) = (step_of(training), training.opened.total);
        let said = format!("step {step} of {total} ");
        let left = self.state.steps_left().map_or_else(String::new, |left| format!(" {}", about(left)));
        let room = usize::from(width).saturating_sub(display_width(&said) + display_width(&left)).min(40);
        let done = (room as u64 * step.min(total) / total.max(1)) as usize;
        Line::from(vec![
            Span::raw(said),
            Span::styled("━".repeat(done), self.palette.colour(Color::Cyan)),
            Span::styled("─".repeat(room - done), self.palette.dim()),
            Span::raw(left),
        ])
    }

    /// What is plotted of the current part, the most telling first.
    fn curves(&self) -> Vec<(&'static str, &[f64])> {
        const TOLD: [&str; 7] = ["reward", "length", "zero-variance groups", "loss", "kl", "right", "kept"];
        let Some(training) = &self.state.training else { return Vec::new() };
        let is_rl = training.opened.stage == "rl";
        // Distillation lowers the divergence; RL only watches it.
        let told = TOLD.into_iter().filter(|name| *name != "kl" || !is_rl);
        let curve = |name| {
            let (_, values) = training.curves.iter().find(|(known, _)| known == name)?;
            Some((name, &values[..]))
        };
        told.filter_map(curve).collect()
    }

    fn curve(&self, name: &str, values: &[f64], width: u16) -> Line<'static> {
        let last = values.last().copied().unwrap_or(f64::NAN);
        let value = match name {
            "zero-variance groups" | "right" => format!("{:.0} %", 100.0 * last),
            "length" => format!("{last:.0}"),
            "kept" => thousands(last),
            _ => short(last),
        };
        let said = format!("{name:20} {value:>6} ");
        let room = usize::from(width).saturating_sub(display_width(&said));
        Line::from(vec![Span::raw(said), Span::styled(sparkline(values, room), self.palette.colour(Color::Cyan))])
    }

    /// The last question with its answer.
    fn exchange(&mut self, area: Rect) {
        let Some((part, answer)) = &self.state.answer else { return };
        let (verdict, colour) = match answer.verdict {
            Verdict::Right => ("right", Color::Green),
            Verdict::Wrong => ("wrong", Color::Red),
            Verdict::CouldNotJudge => ("not judged", Color::Yellow),
        };
        let when = match answer.step {
            Some(step) => format!("step {step}"),
            None => format!("after {}", titles(part)[1]),
        };
        let inside = self.titled(area, &format!("{}, {when}: {verdict}", answer.task));
        let said = answer::lines(answer, usize::from(inside.width), usize::from(inside.height));
        let styled = said.into_iter().map(|(voice, line)| {
            let style = match voice {
                Voice::Question => Style::new(),
                Voice::Thinking => self.palette.dim(),
                Voice::Answer => self.palette.colour(colour).add_modifier(Modifier::BOLD),
            };
            Line::styled(line, style)
        });
        let lines = styled.collect();
        self.lines(inside, lines);
    }

    /// The last note or result, in at most three lines.
    fn news(&self, width: u16) -> Vec<Line<'static>> {
        let Some(last) = self.state.log.last() else { return Vec::new() };
        let lines = textwrap::wrap(last, usize::from(width.max(1)));
        lines.into_iter().take(3).map(|line| Line::raw(line.into_owned())).collect()
    }

    /// Speed, memory, and what Ctrl-C does.
    fn footer(&mut self, area: Rect) {
        let speed = self.state.speed().map(|speed| format!("{} tokens/s", thousands(speed)));
        let memory = self.state.memory.map(|bytes| format!("{} of memory", size(bytes)));
        let both: Vec<String> = [speed, memory].into_iter().flatten().collect();
        let spent = format!("{} so far", clock(self.state.now));
        let keys = match self.state.training.as_ref().and_then(|training| training.saved) {
            Some(step) => format!("Ctrl-C stops the run; step {step} is safe"),
            None => "Ctrl-C stops the run".to_owned(),
        };
        let (both, dim) = (both.join(" · "), self.palette.dim());
        let is_room = display_width(&both) + display_width(&spent) < usize::from(area.width);
        let first = spread(vec![both.into()], is_room.then_some(spent.into()).into_iter().collect(), area.width);
        self.lines(area, vec![first.style(dim), Line::styled(keys, dim)]);
    }

    /// A line across with a title in it; gives the room below.
    fn titled(&mut self, area: Rect, title: &str) -> Rect {
        let title = Span::styled(format!(" {} ", crate::words::visible(title)), self.palette.strong());
        let block = Block::new().borders(Borders::TOP).border_style(self.palette.dim()).title(title);
        let inside = block.inner(area);
        self.frame.render_widget(block, area);
        inside
    }

    fn lines(&mut self, area: Rect, lines: Vec<Line>) {
        frame_lines(self.frame, area, lines);
    }
}

/// The last step that is done.
fn step_of(training: &Training) -> u64 {
    training.last.as_ref().map_or(training.opened.done, |step| step.step)
}

/// One text at the left edge and one at the right; where there is no room for both, the left one.
fn spread<'l>(left: Vec<Span<'l>>, right: Vec<Span<'l>>, width: u16) -> Line<'l> {
    let taken: usize = left.iter().chain(&right).map(Span::width).sum();
    let gap = usize::from(width).saturating_sub(taken);
    let gap = Span::raw(" ".repeat(gap));
    Line::from([left, vec![gap], right].concat())
}

/// As much of a text as there is room for.
fn clipped(text: &str, room: usize) -> String {
    if display_width(text) <= room {
        return text.to_owned();
    }
    let mut short: String = text.chars().take(room.saturating_sub(1)).collect();
    if room > 0 {
        short.push('…');
    }
    short
}

/// A curve in a line of text: the means of `room` equal parts, from the least to the greatest of them.
fn sparkline(values: &[f64], room: usize) -> String {
    const BARS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
    let columns = room.min(values.len());
    let mean = |part: &[f64]| part.iter().sum::<f64>() / part.len() as f64;
    let means: Vec<f64> =
        (0..columns).map(|i| mean(&values[i * values.len() / columns..(i + 1) * values.len() / columns])).collect();
    let (low, high) = means.iter().fold((f64::INFINITY, f64::NEG_INFINITY), |(a, b), &m| (a.min(m), b.max(m)));
    let height = |mean: f64| if high > low { (7.0 * (mean - low) / (high - low)).round() as usize } else { 3 };
    means.into_iter().map(|mean| BARS[height(mean).min(7)]).collect()
}
