//! Expressions, in the precedence of Jinja.

use super::super::ast::{Arguments, Expr, Filter, Name, Postfix};
use super::super::error::Result;
use super::super::lexer::Token;
use super::Parser;
use super::infix::{Level, chain};

impl Parser {
    /// An expression.
    pub(super) fn expression(&mut self) -> Result<Expr> {
        let value = self.binary(Level::Or)?;
        let mut conditions = Vec::new();
        while self.skip_word("if") {
            let condition = self.binary(Level::Or)?;
            let otherwise = if self.skip_word("else") { Some(self.deeper(Self::expression)?) } else { None };
            conditions.push((condition, otherwise));
        }
        Ok(if conditions.is_empty() { value } else { Expr::If(Box::new(value), conditions) })
    }

    /// Expressions with commas between them are a tuple. `conditional` says whether they may contain `if`.
    pub(super) fn tuple(&mut self, conditional: bool) -> Result<Expr> {
        let first = self.tuple_item(conditional)?;
        if !matches!(self.peek(), Token::Operator(",")) {
            return Ok(first);
        }
        let mut items = vec![first];
        while self.skip(",") {
            match self.peek() {
                Token::BlockEnd | Token::PrintEnd | Token::Operator(")") => break,
                _ => items.push(self.tuple_item(conditional)?),
            }
        }
        Ok(Expr::Tuple(items))
    }

    fn tuple_item(&mut self, conditional: bool) -> Result<Expr> {
        if conditional { self.expression() } else { self.binary(Level::Or) }
    }

    /// Operands with operators of this level or higher ones between them.
    ///
    /// One function for all levels, so that brackets within one another take few frames of the stack.
    fn binary(&mut self, lowest: Level) -> Result<Expr> {
        self.deeper(|parser| {
            let mut value = if lowest <= Level::Not && parser.skip_word("not") {
                Expr::Not(Box::new(parser.binary(Level::Not)?))
            } else {
                parser.unary(true)?
            };
            // From the highest level to the lowest, as each becomes the first operand of the next.
            while let Some((level, first)) = parser.operator().filter(|(level, _)| *level >= lowest) {
                let mut rest = vec![(first, parser.operand(level)?)];
                while let Some((_, operator)) = parser.operator().filter(|(next, _)| *next == level) {
                    rest.push((operator, parser.operand(level)?));
                }
                value = chain(level, value, rest);
            }
            Ok(value)
        })
    }

    /// Takes the next operator and parses what follows it.
    fn operand(&mut self, level: Level) -> Result<Expr> {
        let words = if self.is_word("not") { 2 } else { 1 };
        self.at += words;
        match level.next() {
            Some(next) => self.binary(next),
            None => self.unary(true),
        }
    }

    /// An operand with its sign and what follows it; filters and tests only if `filtered`.
    fn unary(&mut self, filtered: bool) -> Result<Expr> {
        let value = if self.skip("-") {
            Expr::Negative(Box::new(self.deeper(|parser| parser.unary(false))?))
        } else if self.skip("+") {
            Expr::Positive(Box::new(self.deeper(|parser| parser.unary(false))?))
        } else {
            self.primary()?
        };
        self.postfix(value, filtered)
    }

    fn primary(&mut self) -> Result<Expr> {
        match self.next() {
            Token::Name(name) => Ok(match &*name {
                "true" | "True" => Expr::Bool(true),
                "false" | "False" => Expr::Bool(false),
                "none" | "None" => Expr::None,
                _ => {
                    self.names.insert(Name::clone(&name));
                    Expr::Name(name)
                }
            }),
            Token::Str(text) => {
                if !matches!(self.peek(), Token::Str(_)) {
                    return Ok(Expr::Str(text));
                }
                let mut joined = text.to_string();
                while let Token::Str(more) = self.peek() {
                    joined += more;
                    self.at += 1;
                }
                Ok(Expr::Str(joined.into()))
            }
            Token::Int(number) => Ok(Expr::Int(number)),
            Token::Float(number) => Ok(Expr::Float(number)),
            Token::Operator("(") => {
                if self.skip(")") {
                    return Ok(Expr::Tuple(Vec::new()));
                }
                let value = self.tuple(true)?;
                self.expect(")")?;
                Ok(value)
            }
            Token::Operator("[") => Ok(Expr::List(self.items("]")?)),
            Token::Operator("{") => self.fields(),
            _ => {
                self.at -= 1;
                self.unexpected()
            }
        }
    }

    /// Fields of a map, after the opening brace.
    #[inline(never)]
    fn fields(&mut self) -> Result<Expr> {
        let mut fields = Vec::new();
        while !self.skip("}") {
            if !fields.is_empty() {
                self.expect(",")?;
                if self.skip("}") {
                    break;
                }
            }
            let key = self.expression()?;
            self.expect(":")?;
            fields.push((key, self.expression()?));
        }
        Ok(Expr::Map(fields))
    }

    /// Expressions with commas between them, up to `end`.
    fn items(&mut self, end: &str) -> Result<Vec<Expr>> {
        let mut items = Vec::new();
        while !self.skip(end) {
            if !items.is_empty() {
                self.expect(",")?;
                if self.skip(end) {
                    break;
                }
            }
            items.push(self.expression()?);
        }
        Ok(items)
    }

    /// What follows `value`: attributes, items and calls, then filters and tests if `filtered`.
    fn postfix(&mut self, value: Expr, filtered: bool) -> Result<Expr> {
        let mut rest = Vec::new();
        loop {
            match self.peek() {
                Token::Operator(".") => {
                    self.at += 1;
                    rest.push(match self.next() {
                        Token::Name(name) => Postfix::Attribute(name),
                        Token::Int(index) => Postfix::Item(Expr::Int(index)),
                        _ => {
                            self.at -= 1;
                            return self.unexpected();
                        }
                    });
                }
                Token::Operator("[") => {
                    self.at += 1;
                    rest.push(self.item()?);
                }
                Token::Operator("(") => {
                    self.at += 1;
                    rest.push(Postfix::Call(self.arguments()?));
                }
                _ => break,
            }
        }
        loop {
            match self.peek() {
                _ if !filtered => break,
                Token::Operator("|") => {
                    self.at += 1;
                    rest.push(Postfix::Filter(self.filter()?));
                }
                Token::Name(word) if &**word == "is" => {
                    self.at += 1;
                    rest.push(self.test()?);
                }
                Token::Operator("(") => {
                    self.at += 1;
                    rest.push(Postfix::Call(self.arguments()?));
                }
                _ => break,
            }
        }
        Ok(if rest.is_empty() { value } else { Expr::Postfix(Box::new(value), rest) })
    }

    /// An index or a slice, after the opening bracket.
    fn item(&mut self) -> Result<Postfix> {
        let mut parts = [None, None, None];
        let mut colons = 0;
        loop {
            if self.skip(":") {
                colons += 1;
                if colons > 2 {
                    return self.error("a slice has at most three parts");
                }
            } else if self.skip("]") {
                break;
            } else if parts[colons].is_none() {
                parts[colons] = Some(self.expression()?);
            } else {
                return self.unexpected();
            }
        }
        if colons > 0 {
            return Ok(Postfix::Slice(Box::new(parts)));
        }
        let [Some(index), ..] = parts else { return self.error("an index is missing") };
        Ok(Postfix::Item(index))
    }

    /// The arguments of a call, after the opening parenthesis.
    fn arguments(&mut self) -> Result<Arguments> {
        let mut arguments = Arguments::default();
        let mut first = true;
        while !self.skip(")") {
            if !first {
                self.expect(",")?;
                if self.skip(")") {
                    break;
                }
            }
            first = false;
            if self.skip("*") {
                arguments.list = Some(Box::new(self.expression()?));
            } else if self.skip("**") {
                arguments.map = Some(Box::new(self.expression()?));
            } else if let (Token::Name(name), Token::Operator("=")) = (self.peek(), self.peek_second()) {
                let name = Name::clone(name);
                self.at += 2;
                arguments.named.push((name, self.expression()?));
            } else if arguments.named.is_empty() && arguments.map.is_none() {
                arguments.positional.push(self.expression()?);
            } else {
                return self.error("a positional argument follows a named one");
            }
        }
        Ok(arguments)
    }

    /// A filter, after the `|`.
    pub(super) fn filter(&mut self) -> Result<Filter> {
        let name = self.dotted_name()?;
        let arguments = if self.skip("(") { self.arguments()? } else { Arguments::default() };
        Ok(Filter { name, arguments })
    }

    fn dotted_name(&mut self) -> Result<Name> {
        let first = self.name()?;
        if !matches!(self.peek(), Token::Operator(".")) {
            return Ok(first);
        }
        let mut name = first.to_string();
        while self.skip(".") {
            name.push('.');
            name += &self.name()?;
        }
        Ok(name.into())
    }

    /// A test, after `is`.
    fn test(&mut self) -> Result<Postfix> {
        let negated = self.skip_word("not");
        let name = self.dotted_name()?;
        let begins_argument = match self.peek() {
            Token::Name(word) => !["else", "or", "and"].contains(&&**word),
            Token::Str(_) | Token::Int(_) | Token::Float(_) | Token::Operator("[" | "{") => true,
            _ => false,
        };
        let mut arguments = Arguments::default();
        if self.skip("(") {
            arguments = self.arguments()?;
        } else if begins_argument {
            if self.is_word("is") {
                return self.error("tests with `is` cannot be chained");
            }
            let value = self.primary()?;
            arguments.positional.push(self.postfix(value, false)?);
        }
        Ok(Postfix::Test(Filter { name, arguments }, negated))
    }
}
