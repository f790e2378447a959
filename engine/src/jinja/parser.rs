//! From tokens to statements. Expressions are in `expressions`.

mod expressions;
mod infix;

use super::ast::{Block, Expr, Filter, For, Macro, Name, Statement, StatementKind, Target};
use super::error::{Result, fail};
use super::lexer::{Token, tokens};
use std::collections::HashSet;
use std::sync::Arc;

/// Most brackets and blocks within one another; real templates have some 15.
const MAX_DEPTH: usize = 64;

/// Parses a template's source into its statements and the names that they read.
///
/// # Errors
/// What is wrong and where.
pub(super) fn parse(source: &str) -> Result<(Block, HashSet<Name>)> {
    let mut parser = Parser { tokens: tokens(source)?, at: 0, depth: 0, loops: 0, names: HashSet::new() };
    let (body, _) = parser.block(&[])?;
    Ok((body, parser.names))
}

pub(super) struct Parser {
    tokens: Vec<(Token, u32)>,
    at: usize,
    depth: usize,
    /// Loops around the current statement, in its macro.
    loops: usize,
    /// Names that are read.
    names: HashSet<Name>,
}

impl Parser {
    fn peek(&self) -> &Token {
        &self.tokens[self.at.min(self.tokens.len() - 1)].0
    }

    fn peek_second(&self) -> &Token {
        &self.tokens[(self.at + 1).min(self.tokens.len() - 1)].0
    }

    fn line(&self) -> u32 {
        self.tokens[self.at.min(self.tokens.len() - 1)].1
    }

    fn next(&mut self) -> Token {
        let token = self.peek().clone();
        self.at += 1;
        token
    }

    fn error<T>(&self, message: impl std::fmt::Display) -> Result<T> {
        fail(format!("syntax error in line {}: {message}", self.line()))
    }

    fn unexpected<T>(&self) -> Result<T> {
        self.error(match self.peek() {
            Token::Data(_) | Token::BlockBegin | Token::PrintBegin => "a tag has no end".to_string(),
            Token::BlockEnd => "the tag ends too early".to_string(),
            Token::PrintEnd => "the expression ends too early".to_string(),
            Token::Name(name) => format!("unexpected {name:?}"),
            Token::Str(text) => format!("unexpected string {text:?}"),
            Token::Int(_) | Token::Float(_) => "unexpected number".to_string(),
            Token::Operator(operator) => format!("unexpected {operator:?}"),
            Token::End => "the template ends too early".to_string(),
        })
    }

    /// Takes an operator if it is next.
    fn skip(&mut self, operator: &str) -> bool {
        let found = matches!(self.peek(), Token::Operator(found) if *found == operator);
        self.at += usize::from(found);
        found
    }

    fn expect(&mut self, operator: &str) -> Result<()> {
        if self.skip(operator) { Ok(()) } else { self.unexpected() }
    }

    fn is_word(&self, word: &str) -> bool {
        matches!(self.peek(), Token::Name(name) if &**name == word)
    }

    /// Takes a keyword if it is next.
    fn skip_word(&mut self, word: &str) -> bool {
        let found = self.is_word(word);
        self.at += usize::from(found);
        found
    }

    fn expect_word(&mut self, word: &str) -> Result<()> {
        if self.skip_word(word) { Ok(()) } else { self.unexpected() }
    }

    fn name(&mut self) -> Result<Name> {
        let Token::Name(name) = self.peek() else { return self.unexpected() };
        let name = Arc::clone(name);
        self.at += 1;
        Ok(name)
    }

    /// Runs `parse` one level deeper.
    fn deeper<T>(&mut self, parse: impl FnOnce(&mut Self) -> Result<T>) -> Result<T> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return self.error(format_args!("brackets or blocks are nested deeper than {MAX_DEPTH} levels"));
        }
        let parsed = parse(self)?;
        self.depth -= 1;
        Ok(parsed)
    }

    /// Statements up to a tag with one of the words `ends`, which is taken, and the word; with none, to the end.
    fn block(&mut self, ends: &[&str]) -> Result<(Block, Name)> {
        let mut body = Vec::new();
        loop {
            let line = self.line();
            let kind = match self.next() {
                Token::Data(text) => StatementKind::Text(text),
                Token::PrintBegin => {
                    let value = self.tuple(true)?;
                    if self.next() != Token::PrintEnd {
                        self.at -= 1;
                        return self.unexpected();
                    }
                    StatementKind::Print(value)
                }
                Token::BlockBegin => {
                    let word = self.name()?;
                    if ends.contains(&&*word) {
                        return Ok((body, word));
                    }
                    self.deeper(|parser| parser.statement(&word))?
                }
                Token::End if ends.is_empty() => return Ok((body, "".into())),
                _ => {
                    self.at -= 1;
                    let wanted = ends.last().map_or(String::new(), |end| format!(", where {end} is missing"));
                    return self.error(format!("the template ends too early{wanted}"));
                }
            };
            body.push(Statement { line, kind });
        }
    }

    /// The rest of a tag, then statements up to one of `ends`.
    fn body(&mut self, ends: &[&str]) -> Result<(Block, Name)> {
        self.skip(":");
        self.end_of_tag()?;
        self.block(ends)
    }

    /// The same where the end is a tag without anything else.
    fn whole_body(&mut self, end: &str) -> Result<Block> {
        let (body, _) = self.body(&[end])?;
        self.end_of_tag()?;
        Ok(body)
    }

    fn end_of_tag(&mut self) -> Result<()> {
        if *self.peek() != Token::BlockEnd {
            return self.unexpected();
        }
        self.at += 1;
        Ok(())
    }

    /// The statement that begins with `word`, to the end of its last tag.
    fn statement(&mut self, word: &str) -> Result<StatementKind> {
        match word {
            "if" => self.conditional(),
            "for" => self.for_loop(),
            "set" => self.set(),
            "macro" => self.macro_definition(),
            "call" => self.call_block(),
            "filter" => {
                let filters = self.filters()?;
                Ok(StatementKind::Filter(filters, self.whole_body("endfilter")?))
            }
            "with" => {
                let mut values = Vec::new();
                while *self.peek() != Token::BlockEnd {
                    if !values.is_empty() {
                        self.expect(",")?;
                    }
                    let target = self.target(&["="])?;
                    self.expect("=")?;
                    values.push((target, self.expression()?));
                }
                Ok(StatementKind::With(values, self.whole_body("endwith")?))
            }
            "autoescape" => match self.expression()? {
                Expr::Bool(false) => Ok(StatementKind::Scope(self.whole_body("endautoescape")?)),
                _ => self.error("autoescape is not supported, but for false"),
            },
            "generation" => Ok(StatementKind::Scope(self.whole_body("endgeneration")?)),
            "block" => {
                let name = self.name()?;
                for option in ["scoped", "required"] {
                    self.skip_word(option);
                }
                let (body, _) = self.body(&["endblock"])?;
                self.skip_word(&name);
                self.end_of_tag()?;
                Ok(StatementKind::Scope(body))
            }
            "break" | "continue" => {
                if self.loops == 0 {
                    return self.error(format!("{word} outside of a loop"));
                }
                self.end_of_tag()?;
                Ok(if word == "break" { StatementKind::Break } else { StatementKind::Continue })
            }
            "include" | "import" | "from" | "extends" => {
                self.error(format!("{word} needs other templates, and there are none"))
            }
            _ => self.error(format!("unknown tag {word:?}")),
        }
    }

    fn conditional(&mut self) -> Result<StatementKind> {
        let mut branches = Vec::new();
        loop {
            let condition = self.tuple(false)?;
            let (body, end) = self.body(&["elif", "else", "endif"])?;
            branches.push((condition, body));
            match &*end {
                "elif" => {}
                "else" => return Ok(StatementKind::If(branches, self.whole_body("endif")?)),
                _ => {
                    self.end_of_tag()?;
                    return Ok(StatementKind::If(branches, Vec::new()));
                }
            }
        }
    }

    fn for_loop(&mut self) -> Result<StatementKind> {
        let target = self.target(&["in"])?;
        self.expect_word("in")?;
        let items = self.tuple(false)?;
        let condition = if self.skip_word("if") { Some(self.expression()?) } else { None };
        let recursive = self.skip_word("recursive");
        self.loops += 1;
        let (body, end) = self.body(&["endfor", "else"])?;
        self.loops -= 1;
        let otherwise = if &*end == "else" {
            self.whole_body("endfor")?
        } else {
            self.end_of_tag()?;
            Vec::new()
        };
        Ok(StatementKind::For(Arc::new(For { target, items, condition, body, otherwise, recursive })))
    }

    fn set(&mut self) -> Result<StatementKind> {
        let target = self.target(&["=", "|"])?;
        if self.skip("=") {
            let value = self.tuple(true)?;
            self.end_of_tag()?;
            return Ok(StatementKind::Set(target, value));
        }
        let filters = if self.skip("|") { self.filters()? } else { Vec::new() };
        Ok(StatementKind::SetBlock(target, filters, self.whole_body("endset")?))
    }

    fn macro_definition(&mut self) -> Result<StatementKind> {
        let name = self.name()?;
        self.expect("(")?;
        let (parameters, defaults) = self.parameters()?;
        let body = self.macro_body("endmacro")?;
        Ok(StatementKind::Macro(Arc::new(Macro { name, parameters, defaults, body })))
    }

    fn call_block(&mut self) -> Result<StatementKind> {
        let (parameters, defaults) = if self.skip("(") { self.parameters()? } else { Default::default() };
        let call = self.expression()?;
        let body = self.macro_body("endcall")?;
        let block = Macro { name: "caller".into(), parameters, defaults, body };
        Ok(StatementKind::Call(call, Arc::new(block)))
    }

    /// The body of a macro, which the loops around it do not reach.
    fn macro_body(&mut self, end: &str) -> Result<Block> {
        let loops = std::mem::take(&mut self.loops);
        let body = self.whole_body(end)?;
        self.loops = loops;
        Ok(body)
    }

    /// Parameters and the defaults of the last ones, after the opening parenthesis.
    fn parameters(&mut self) -> Result<(Vec<Name>, Vec<Expr>)> {
        let (mut names, mut defaults) = (Vec::new(), Vec::new());
        while !self.skip(")") {
            if !names.is_empty() {
                self.expect(",")?;
            }
            names.push(self.name()?);
            if self.skip("=") {
                defaults.push(self.expression()?);
            } else if !defaults.is_empty() {
                return self.error("a parameter without a default follows one with a default");
            }
        }
        Ok((names, defaults))
    }

    /// `a`, `a.b` or `a, b`, up to one of `ends`.
    fn target(&mut self, ends: &[&str]) -> Result<Target> {
        let first = self.single_target()?;
        if !matches!(self.peek(), Token::Operator(",")) {
            return Ok(first);
        }
        let mut targets = vec![first];
        while self.skip(",") {
            let ended = match self.peek() {
                Token::Operator(found) => ends.contains(found),
                Token::Name(found) => ends.contains(&&**found),
                _ => false,
            };
            if ended {
                break;
            }
            targets.push(self.single_target()?);
        }
        Ok(Target::Tuple(targets))
    }

    fn single_target(&mut self) -> Result<Target> {
        if self.skip("(") {
            let target = self.deeper(|parser| parser.target(&[")"]))?;
            self.expect(")")?;
            return Ok(target);
        }
        let name = self.name()?;
        if ["true", "false", "none", "True", "False", "None"].contains(&&*name) {
            return self.error(format!("{name} cannot be assigned to"));
        }
        Ok(if self.skip(".") { Target::Attribute(name, self.name()?) } else { Target::Name(name) })
    }

    /// `f(...)|g`: filters after the first `|`.
    fn filters(&mut self) -> Result<Vec<Filter>> {
        let mut filters = vec![self.filter()?];
        while self.skip("|") {
            filters.push(self.filter()?);
        }
        Ok(filters)
    }
}
